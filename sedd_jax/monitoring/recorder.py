"""The record of a run while it trains: everything that is measured and written about it.

All processes measure, process 0 writes: metrics.jsonl and what config.monitoring.writers names
(sedd_jax/monitoring/writers.py), goodput.jsonl, profile/.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import jax
from absl import logging

from sedd_jax.errors import one_line
from sedd_jax.model import ModelDef
from sedd_jax.monitoring import hardware
from sedd_jax.monitoring.goodput import Goodput, Moment
from sedd_jax.monitoring.media import Medium
from sedd_jax.monitoring.metrics import Meter, MetricsWriter, train_flops_per_token
from sedd_jax.monitoring.profiler import ProfilerWindow
from sedd_jax.parallel.consensus import is_first
from tokenizer_bridge.token_dataset.errors import is_disk_full


class Watch:
    """One life of a run, from `step` on; it began at `began`. A context manager around the loop."""

    def __init__(self, run: ModelDef, workdir: Path, step: int, began: Moment):
        writes = is_first()
        config = run.config
        self._step = step
        self._writer = MetricsWriter(
            workdir,
            step,
            active=writes,
            writers=config.monitoring.writers,
            config=config.to_dict(),
        )
        self._goodput = Goodput(workdir, step, began, active=writes)
        self._profiler = ProfilerWindow(
            workdir, config.profile.start_step, config.profile.num_steps, active=writes
        )
        self._meter = Meter(
            config.training.batch_size * config.model.length,
            train_flops_per_token(run.network),
            _peak_flops_per_second(run),
        )

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """A context for the reading of the next batch."""
        return self._meter.waiting()

    def add(self, step: int, metrics: Mapping[str, jax.Array]) -> None:
        """Takes the metrics of step number `step`; waits for those of the step before it."""
        self._step = step
        self._meter.add(metrics)

    @property
    def step(self) -> int:
        """The number of the latest step."""
        return self._step

    @property
    def consecutive_skips(self) -> int:
        """The steps skipped in a row, up to the latest one whose metrics have arrived."""
        return self._meter.consecutive_skips

    def summary(self) -> str:
        """The latest step and the latest rate, for a progress bar."""
        return self._meter.summary()

    @contextlib.contextmanager
    def not_training(self, kind: str) -> Iterator[None]:
        """A context for other work than training: no part of any step's time, entered as `kind`.

        The step reached before it is on record when it begins.
        """
        with self._meter.paused():
            self._record()
            with self._goodput.spent(kind):
                yield
            self._record()

    def trace(self) -> str | None:
        """Starts or ends a trace when it is time to; returns a line on it for the user."""
        if not self._profiler.is_due(self._step):
            return None
        with self.not_training("profile"):
            return self._profiler.switch(self._step)

    def report(self) -> None:
        """Writes the figures of the steps since the last report."""
        values = self._meter.report() | hardware.memory()
        self._record()
        self.write(values | self._goodput.metrics())

    def write(self, values: Mapping[str, float]) -> None:
        """Writes other figures of the present step."""
        with _going_on_when_full():
            self._writer.write(self._step, values)

    def write_media(self, step: int, media: Sequence[Medium]) -> None:
        """Shows pictures and audio of a step, which may be an earlier one."""
        self._writer.write_media(step, media)

    def finish(self) -> None:
        """Stops the clock of a run that is trained to its end."""
        self._record(finished=True)

    def _record(self, finished: bool = False) -> None:
        with _going_on_when_full():
            self._goodput.record(self._step, self._meter.productive_seconds, finished=finished)

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *error) -> None:
        self._profiler.__exit__(*error)
        self._writer.__exit__(*error)


@contextlib.contextmanager
def _going_on_when_full() -> Iterator[None]:
    """A full disk costs figures, not the run, whose checkpoints say whether it can go on."""
    try:
        yield
    except OSError as error:
        if not is_disk_full(error):
            raise
        logging.warning("figures of this step are lost: %s", one_line(error))


def _peak_flops_per_second(run: ModelDef) -> float | None:
    """The peak of all devices of the mesh together; None where it is neither known nor told."""
    devices = run.mesh.devices
    tflops = run.config.metrics.peak_tflops or hardware.peak_tflops(devices.flat[0].device_kind)
    return None if tflops is None else tflops * 1e12 * devices.size
