"""Sweeps over training: python -m sedd_jax.train per run."""

import functools
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from launch.sweeping.runs import Progress, SweepRun
from sedd_jax import config as config_lib
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.data import fingerprint, plan_windows
from sedd_jax.errors import UserError
from sedd_jax.model import checkpoint_dir
from sedd_jax.monitoring.metrics import METRICS_FILE, read_lines
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset


@dataclass(frozen=True)
class Training:
    """config_file: with the get_config() of all runs; shared: what the command line overrides."""

    config_file: str
    shared: Mapping[str, Any]

    module = "sedd_jax.train"
    default_metric = "validation_bits_per_token"

    def complete(self, config: ConfigDict) -> None:
        config_lib.check(config)
        if not config.data.path:
            raise UserError("config.data.path is empty: a token dataset is needed")

    def check_inputs(self, runs: Sequence[SweepRun]) -> None:
        for path, length in {(run.config.data.path, run.config.model.length) for run in runs}:
            plan_windows(TokenDataset(path), TRAIN_SPLIT, length)

    def line(self, run: SweepRun) -> list[str]:
        line = [sys.executable, "-m", self.module, f"--config={self.config_file}"]
        return [*line, *self.overrides(run), f"--workdir={run.directory}"]

    def overrides(self, run: SweepRun) -> list[str]:
        """Flags of everything in which the run differs from the config file."""
        values = self.shared | run.overrides
        return [f"--config.{key}={config_lib.as_text(value)}" for key, value in values.items()]

    def after(self, run: SweepRun) -> list[list[str]]:
        return []

    def progress(self, run: SweepRun) -> Progress:
        num_steps = run.config.training.num_steps
        directory = checkpoint_dir(run.directory)
        if not directory.is_dir():
            return Progress(False, "")
        with Checkpoints(directory, read_only=True) as checkpoints:
            if not checkpoints.steps:
                return Progress(False, "")
            meta = checkpoints.newest(checkpoints.read_meta)
        config_lib.check_resumable(meta.config, run.config, run.directory)
        if meta.dataset != _fingerprint(run.config.data.path):
            raise UserError(
                f"{run.directory} was trained on other tracks than {run.config.data.path} holds: "
                "give it the same data or sweep in another directory"
            )
        if meta.step > num_steps:
            raise UserError(
                f"{run.directory} was trained to step {meta.step:,}, beyond "
                f"config.training.num_steps={num_steps}: sweep in another directory"
            )
        return Progress(meta.step == num_steps, f"step {meta.step:,} of {num_steps:,}")

    def history(self, run: SweepRun) -> list[dict[str, float | None]]:
        path = run.directory / METRICS_FILE
        return read_lines(path) if path.exists() else []

    def reference(self, run: SweepRun) -> dict[str, float]:
        return {}


@functools.cache
def _fingerprint(dataset: str) -> str:
    return fingerprint(TokenDataset(Path(dataset)), TRAIN_SPLIT)
