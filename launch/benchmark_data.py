"""Reading training data: the parts "data" and "bucket" of launch.benchmark.

Reading is timed in processes of its own, one and then several at once, each of which reads its
share of the batch, as the processes of one training do. CPU time is that of all threads of one.

The bucket is one in this machine's memory in which every request takes LATENCY_S longer. The data
is copied from it to this machine before the first step; steps of training on it and on data that
was here from the start are taken in turn.
"""

import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
from fsspec.implementations.memory import MemoryFileSystem
from ml_collections import ConfigDict

from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

LATENCY_S = 0.05
NUM_STEPS = 20  # of training that are timed in one go
_TIMED_WINDOWS = 4096  # that are read in one go
_NUM_TRACKS, _TRACK_TOKENS = 512, 18_000  # four minutes at 75 tokens/s


class SlowStore(MemoryFileSystem):
    """A store whose every request takes LATENCY_S longer, at slow://…"""

    protocol = "slow"
    requests: ClassVar[list[float]] = []  # when each was made

    @classmethod
    def _strip_protocol(cls, path):
        return MemoryFileSystem._strip_protocol(path.removeprefix("slow:/"))

    def info(self, path, **kwargs):
        """Answers after a request's time: a file's size."""
        self._wait()
        return super().info(path, **kwargs)

    def ls(self, path, detail=True, **kwargs):
        """Answers after a request's time: a list of files."""
        self._wait()
        return super().ls(path, detail, **kwargs)

    def _open(self, *args, **kwargs):
        self._wait()
        return super()._open(*args, **kwargs)

    @staticmethod
    def _wait() -> None:
        SlowStore.requests.append(time.perf_counter())
        time.sleep(LATENCY_S)


@dataclass(frozen=True)
class Share:
    """The share of every batch that one of several processes reads: `rows` rows, `length` long."""

    place: Path
    length: int
    rows: int
    index: int
    processes: int
    repeats: int


@dataclass(frozen=True)
class Reader:
    """The figures of a process that reads: its memory is that of the whole process, at most."""

    first_batch_s: float
    tokens_per_s: float
    tokens_per_cpu_s: float
    memory_gb: float


def data(
    config: ConfigDict, codebook_size: int, repeats: int, tracks: int, processes: int
) -> dict[str, float]:
    """Reading, windowing and batching, by one process and by several."""
    batch_size, length = config.training.batch_size, config.model.length
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "tokens"
        tokens_T = write(place, codebook_size, tracks_like_songs(tracks)).lengths("train")
        alone, *_ = readers(place, length, batch_size, 1, repeats)
        together = readers(place, length, batch_size, processes, repeats)
    return {
        "tracks": tracks,
        "M tokens": 1e-6 * float(tokens_T.sum()),
        "seconds until the first batch": alone.first_batch_s,
        "tokens/s": alone.tokens_per_s,
        "tokens a second of CPU time": alone.tokens_per_cpu_s,
        "memory of a reader, GB": alone.memory_gb,
        "processes at once": processes,
        "tokens/s of them together": sum(reader.tokens_per_s for reader in together),
    }


def readers(
    place: Path, length: int, batch_size: int, processes: int, repeats: int
) -> list[Reader]:
    """The figures of so many processes that read at once, each `batch_size` / `processes` rows."""
    rows = max(1, batch_size // processes)
    shares = [Share(place, length, rows, i, processes, repeats) for i in range(processes)]
    fresh = multiprocessing.get_context("spawn")  # none has the memory of this one
    ready = fresh.Barrier(processes)
    with ProcessPoolExecutor(
        processes, mp_context=fresh, initializer=_meet_at, initargs=(ready,)
    ) as pool:
        return list(pool.map(_read, shares))


def _meet_at(barrier) -> None:
    """Makes a barrier known to a process, which can't be handed one with its work."""
    global _ready
    _ready = barrier


def _read(share: Share) -> Reader:
    from sedd_jax import data as data_lib

    start = time.perf_counter()
    batches = data_lib.training_batches(
        TokenDataset(share.place),
        "train",
        length=share.length,
        batch_size=share.rows * share.processes,
        seed=0,
        rows_R=share.rows * share.index + np.arange(share.rows),
    )
    next(batches)
    first_batch_s = time.perf_counter() - start
    count = -(-_TIMED_WINDOWS // share.rows)
    wall, cpu = [], []
    _ready.wait()
    for _ in range(share.repeats + 1):
        start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(count):
            next(batches)
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    tokens = count * share.rows * share.length
    return Reader(
        first_batch_s,
        tokens / statistics.median(wall[1:]),  # the first had been read ahead in part
        tokens / statistics.median(cpu[1:]),
        1e-6 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    )


def bucket(config: ConfigDict, codebook_size: int, repeats: int) -> dict[str, float]:
    """Steps of training on data in a slow bucket, and on the same data here."""
    import jax

    from sedd_jax import config as config_lib
    from sedd_jax.model import build
    from sedd_jax.parallel import mesh as mesh_lib
    from sedd_jax.training.step import jit_train_step

    config_lib.check(config)
    run = build(config, {"name": "benchmark", "codebook_size": codebook_size})
    step, state = jit_train_step(run), run.fresh_state()
    sharding = mesh_lib.batch_sharding(run.mesh)

    def measure(place: str | Path) -> tuple[float, float, float, float]:
        """(seconds to open, requests for that, steps/s, requests meanwhile)."""
        nonlocal state
        SlowStore.requests.clear()
        start = time.perf_counter()
        dataset = TokenDataset(place)
        opening_s, to_open = time.perf_counter() - start, len(SlowStore.requests)
        batches = batches_of(dataset, config)
        for i in range(NUM_STEPS + 1):
            if i == 1:  # the first may compile
                start = time.perf_counter()
            state, metrics = step(state, jax.device_put(next(batches), sharding))
            jax.block_until_ready(metrics)
        steps_per_s = NUM_STEPS / (time.perf_counter() - start)
        return opening_s, to_open, steps_per_s, len(SlowStore.requests) - to_open

    fsspec.register_implementation("slow", SlowStore, clobber=True)
    here, there = [], []
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / "tokens"
        write(local, codebook_size, np.full(_NUM_TRACKS, _TRACK_TOKENS))
        for path in local.iterdir():
            Bucket("slow://benchmark/tokens").upload(path, path.name)
        for i in range(repeats):
            os.environ["XDG_CACHE_HOME"] = f"{folder}/cache-{i}"  # nothing has been copied yet
            pair = [(here, local), (there, "slow://benchmark/tokens")]
            for figures, place in pair[:: 1 if i % 2 else -1]:
                figures.append(measure(place))
    opening_s, to_open, rate, meanwhile = np.median(there, axis=0)
    ratios = [t[2] / h[2] for t, h in zip(there, here, strict=True)]
    return {
        "megabytes of tokens": 2e-6 * _NUM_TRACKS * _TRACK_TOKENS,
        "seconds to copy them": opening_s,
        "requests for that": to_open,
        "requests during the steps": meanwhile,
        "steps/s, data here": np.median(here, axis=0)[2],
        "steps/s, data in a bucket": rate,
        "ratio of these": float(np.median(ratios)),
    }


def tracks_like_songs(count: int) -> np.ndarray:
    """Tokens of each of so many tracks (T,), on average as many as those of MTG-Jamendo have.

    Those last 244 s, at 75 tokens/s. Lengths are drawn from a lognormal distribution, σ = 0.5.
    """
    spread_T = np.random.default_rng(1).lognormal(-(0.5**2) / 2, 0.5, count)
    return np.ceil(244 * 75 * spread_T).astype(np.int64)


def write(path: Path, codebook_size: int, tokens_T: np.ndarray) -> TokenDataset:
    """A dataset of random tokens, in tracks of these lengths, in nine files or more."""
    rng = np.random.default_rng(0)
    codec = {
        "name": "benchmark",
        "weights_sha256": "0" * 64,
        "sample_rate": 24_000,
        "hop_length": 320,
        "codebook_size": codebook_size,
    }
    per_shard = max(2**20, int(tokens_T.sum()) // 32)
    with TokenDatasetWriter(path, codec, tokens_per_shard=per_shard) as writer:
        for i, num_tokens in enumerate(tokens_T):
            tokens = rng.integers(codebook_size, size=num_tokens, dtype=np.uint16)
            writer.write("train", Record(id=f"{i}", tokens=tokens, duration_s=num_tokens / 75))
    return TokenDataset(path)


def batches_of(dataset: TokenDataset, config: ConfigDict) -> Iterator:
    """Endless batches (B, L) of it, as training reads them."""
    from sedd_jax import data as data_lib

    return data_lib.training_batches(
        dataset,
        "train",
        length=config.model.length,
        batch_size=config.training.batch_size,
        seed=0,
    )
