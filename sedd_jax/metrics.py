"""What a run measures and where it is written: metrics.jsonl and TensorBoard event files."""

import contextlib
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np

from sedd_jax.event_file import EventFile
from sedd_jax.network.transformer import MLP_RATIO, NetworkConfig

METRICS_FILE = "metrics.jsonl"


class MetricsWriter:
    """Writes scalars by step; what an earlier life wrote after `start_step` is dropped.

    metrics.jsonl: one object a line, {"step": …, name: value, …}, null for a value that is not
    finite. TensorBoard's event files are in workdir/tensorboard.
    """

    def __init__(self, workdir: str | Path, start_step: int):
        self._path = Path(workdir) / METRICS_FILE
        self._drop_lines_after(start_step)
        self._file = open(self._path, "a", encoding="utf-8")
        self._events = EventFile(Path(workdir) / "tensorboard", start_step + 1)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        line = {k: v if math.isfinite(v) else None for k, v in values.items()}
        self._file.write(json.dumps({"step": step} | line) + "\n")
        self._file.flush()
        self._events.write(step, values)

    def _drop_lines_after(self, start_step: int) -> None:
        if not self._path.exists():
            return
        kept = [line for line in read_lines(self._path) if line["step"] <= start_step]
        partial = self._path.with_name(self._path.name + ".partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(self._path)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        self._file.close()
        self._events.close()


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
    """Collects the metrics of steps between two reports, and their rate.

    tokens_per_step: of the global batch.
    """

    def __init__(self, tokens_per_step: int):
        self._tokens_per_step = tokens_per_step
        self._in_flight: Mapping[str, jax.Array] | None = None
        self._latest: Mapping[str, np.ndarray] | None = None
        self._rate = 0.0  # [tokens/s]
        self._restart()

    def _restart(self) -> None:
        self._steps: list[Mapping[str, np.ndarray]] = []
        self._start = time.perf_counter()

    def add(self, metrics: Mapping[str, jax.Array]) -> None:
        """Takes a step's metrics, and waits for those of the step before.

        One step behind, so that the device always has the next one to work on.
        """
        self._fetch()
        self._in_flight = metrics

    def _fetch(self) -> None:
        if self._in_flight is not None:
            self._latest = jax.device_get(self._in_flight)
            self._steps.append(self._latest)
            self._in_flight = None

    @property
    def consecutive_skips(self) -> int:
        """As of the latest step whose metrics have arrived."""
        return int(self._latest["consecutive_skips"]) if self._latest else 0

    def summary(self) -> str:
        """The latest step and the latest rate, for a progress bar."""
        if not self._latest:
            return ""
        if self._steps:
            self._rate = self._tokens_per_step * len(self._steps) / self._seconds()
        loss, skipped = self._latest["nats_per_token"], int(self._latest["skipped"])
        text = f"nats/token={loss:.3f}, tokens/s={self._rate:,.0f}"
        return text + (f", skipped={skipped}" if skipped else "")

    def _seconds(self) -> float:
        return time.perf_counter() - self._start

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves time that is no training out of the rate."""
        start = time.perf_counter()
        yield
        self._start += time.perf_counter() - start

    def report(self) -> dict[str, float]:
        """The steps added since the last report, once they are computed.

        Means over the finite ones of loss (nats a row), nats_per_token and grad_norm; the last
        learning_rate, skipped and consecutive_skips; seconds_per_step; tokens_per_second, over
        all devices.
        """
        self._fetch()
        seconds, last = self._seconds(), self._steps[-1]
        values = {
            name: _finite_mean([step[name] for step in self._steps])
            for name in ("loss", "nats_per_token", "grad_norm")
        }
        for name in ("learning_rate", "skipped", "consecutive_skips"):
            values[name] = float(last[name])
        values["seconds_per_step"] = seconds / len(self._steps)
        values["tokens_per_second"] = self._tokens_per_step * len(self._steps) / seconds
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
    """Of a training step: the backward pass costs two forward passes; recomputation not counted."""
    return 3 * forward_flops_per_token(network)
