"""The figures of a run, metrics.jsonl, and the writers that they go to beside it."""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from sedd_jax.monitoring import writers as writers_lib
from sedd_jax.monitoring.media import Medium
from sedd_jax.network.transformer import MLP_RATIO, NetworkConfig
from tokenizer_bridge.token_dataset.files import atomic_file

METRICS_FILE = "metrics.jsonl"


class MetricsWriter:
    """Writes scalars by step; what an earlier life wrote after `start_step` is dropped.

    metrics.jsonl: one object a line, {"step": …, name: value, …}, null for a value that is not
    finite. writers: where they go to beside it (sedd_jax/monitoring/writers.py); config: of the
    run, for those that show it. active: False writes nothing, for all processes of a run but one.
    """

    def __init__(
        self,
        workdir: str | Path,
        start_step: int,
        *,
        active: bool = True,
        writers: Sequence[str] = ("tensorboard",),
        config: Mapping[str, Any] | None = None,
    ):
        self._active = active
        if active:
            path = Path(workdir) / METRICS_FILE
            _drop_lines_after(path, start_step)
            self._file = open(path, "a", encoding="utf-8")
            self._writers = writers_lib.make(writers, workdir, start_step, config or {})

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if self._active:
            line = {k: v if math.isfinite(v) else None for k, v in values.items()}
            self._file.write(json.dumps({"step": step} | line) + "\n")
            self._file.flush()
            for writer in self._writers:
                writer.write(step, values)

    def write_media(self, step: int, media: Sequence[Medium]) -> None:
        """Hands pictures and audio to the writers that can show them."""
        for writer in self._writers if self._active else ():
            writer.write_media(step, media)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        if self._active:
            self._file.close()
            for writer in self._writers:
                writer.close()


def _drop_lines_after(path: Path, start_step: int) -> None:
    if not path.exists():
        return
    kept = [line for line in read_lines(path) if line["step"] <= start_step]
    with atomic_file(path) as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")


def read_lines(path: str | Path) -> list[dict[str, float | None]]:
    """The whole lines of a metrics.jsonl; one cut short by a kill is left out."""
    lines = []
    for text in Path(path).read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            continue
    return lines


class Meter:
    """Collects the metrics of steps between two reports, and how long they took.

    A step lasts from the arrival of the metrics of the step before, or the end of a pause, to the
    arrival of its own: what the host does meanwhile, waiting for data too, counts only where the
    device is done before it. tokens_per_step: of the global batch. flops_per_second_at_peak: of all
    devices together, None where it is not known.
    """

    def __init__(
        self,
        tokens_per_step: int,
        flops_per_token: int = 0,
        flops_per_second_at_peak: float | None = None,
    ):
        self._tokens_per_step = tokens_per_step
        self._flops_per_token, self._peak = flops_per_token, flops_per_second_at_peak
        self._in_flight: Mapping[str, jax.Array] | None = None
        self._latest: Mapping[str, np.ndarray] | None = None
        self._rate = 0.0  # [tokens/s]
        self._mark = time.perf_counter()  # from here on counts the step that is computed
        self.productive_seconds = 0.0  # in steps whose update was applied, ever
        self._restart()

    def _restart(self) -> None:
        self._steps: list[Mapping[str, np.ndarray]] = []
        self._seconds: list[float] = []  # of each step
        self._waited = 0.0  # [s]

    def add(self, metrics: Mapping[str, jax.Array]) -> None:
        """Takes a step's metrics, and waits for those of the step before.

        One step behind, so that the device always has the next one to work on.
        """
        self.fetch()
        self._in_flight = metrics

    def fetch(self) -> None:
        """Waits for all steps that were added."""
        if self._in_flight is None:
            return
        self._latest = jax.device_get(self._in_flight)
        self._in_flight = None
        now = time.perf_counter()
        self._steps.append(self._latest)
        self._seconds.append(now - self._mark)
        if not self._latest["consecutive_skips"]:
            self.productive_seconds += now - self._mark
        self._mark = now

    @property
    def consecutive_skips(self) -> int:
        """The steps skipped in a row, up to the latest one whose metrics have arrived."""
        return int(self._latest["consecutive_skips"]) if self._latest else 0

    def summary(self) -> str:
        """The latest step and the latest rate, for a progress bar."""
        if not self._latest:
            return ""
        if self._steps:
            self._rate = self._tokens_per_step * len(self._steps) / sum(self._seconds)
        bits, skipped = self._latest["nats_per_token"] / math.log(2), int(self._latest["skipped"])
        text = f"bits/token={bits:.3f}, tokens/s={self._rate:,.0f}"
        return text + (f", skipped={skipped}" if skipped else "")

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Waits for the steps so far and leaves the block's time out of all figures."""
        self.fetch()
        yield
        self._mark = time.perf_counter()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the block's time as waiting for data."""
        start = time.perf_counter()
        yield
        self._waited += time.perf_counter() - start

    def report(self) -> dict[str, float]:
        """The steps added since the last report, once they are computed.

        Means over the finite ones of loss (nats a row), nats_per_token, bits_per_token (the unit of
        validation) and grad_norm; the last learning_rate, skipped and consecutive_skips;
        seconds_per_step, the mean, and step_seconds/p50, /p90, /max; tokens_per_second over all
        devices; data_wait_share, of the time; mfu, where the peak is known.
        """
        self.fetch()
        seconds, last = sum(self._seconds), self._steps[-1]
        values = {
            name: _finite_mean([step[name] for step in self._steps])
            for name in ("loss", "nats_per_token", "grad_norm")
        }
        values["bits_per_token"] = values["nats_per_token"] / math.log(2)
        for name in ("learning_rate", "skipped", "consecutive_skips"):
            values[name] = float(last[name])
        values["seconds_per_step"] = seconds / len(self._steps)
        for name, percent in (("p50", 50), ("p90", 90), ("max", 100)):
            values[f"step_seconds/{name}"] = float(np.percentile(self._seconds, percent))
        values["tokens_per_second"] = self._tokens_per_step * len(self._steps) / seconds
        values["data_wait_share"] = self._waited / seconds
        if self._peak:
            values["mfu"] = self._flops_per_token * values["tokens_per_second"] / self._peak
        self._restart()
        return values


def _finite_mean(values: Sequence[np.ndarray]) -> float:
    finite = [float(value) for value in values if np.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def forward_flops_per_token(network: NetworkConfig) -> int:
    """Floating-point operations of the matmuls of one forward pass, for one token.

    2 for each weight that a token meets (blocks and head; adaLN and σ embedding serve whole rows
    and are left out), and 4·L·D a block for q·kᵀ and the weighted sum of v.
    """
    width = network.width
    weights = network.num_blocks * (4 + 2 * MLP_RATIO) * width**2 + width * network.vocab_size
    return 2 * weights + network.num_blocks * 4 * network.length * width


def train_flops_per_token(network: NetworkConfig) -> int:
    """Floating-point operations of a training step, for one token, recomputation not counted.

    The backward pass costs two forward passes.
    """
    return 3 * forward_flops_per_token(network)
