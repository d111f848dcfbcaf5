"""Reading training data: the parts "data" and "bucket" of launch.benchmark.

The bucket is one in this machine's memory in which every request takes LATENCY_S longer. The data
is copied from it to this machine before the first step; steps of training on it and on data that
was here from the start are taken in turn.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
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


def data(config: ConfigDict, codebook_size: int, repeats: int) -> dict[str, float]:
    """Reading, windowing and batching, from a dataset of 512 four-minute tracks."""
    with tempfile.TemporaryDirectory() as folder:
        batches = batches_of(write(Path(folder) / "tokens", codebook_size), config)
        count, seconds = 50, []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            for _ in range(count):
                next(batches)
            seconds.append((time.perf_counter() - start) / count)
    tokens = config.training.batch_size * config.model.length
    return {"tokens/s": tokens / statistics.median(seconds[1:])}


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
        write(local, codebook_size)
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


def write(path: Path, codebook_size: int) -> TokenDataset:
    """A dataset of random tokens in nine files."""
    rng = np.random.default_rng(0)
    codec = {
        "name": "benchmark",
        "weights_sha256": "0" * 64,
        "sample_rate": 24_000,
        "hop_length": 320,
        "codebook_size": codebook_size,
    }
    with TokenDatasetWriter(path, codec, tokens_per_shard=2**20) as writer:
        for i in range(_NUM_TRACKS):
            tokens = rng.integers(codebook_size, size=_TRACK_TOKENS).astype(np.uint16)
            writer.write("train", Record(id=f"{i}", tokens=tokens, duration_s=240.0))
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
