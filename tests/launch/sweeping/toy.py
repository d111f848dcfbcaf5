"""Sweeps of a toy, for tests that start no process."""

from pathlib import Path

from launch.sweeping.runs import SweepFile, SweepRun, plan
from launch.sweeping.training import Training
from tests.sedd_jax.toy import toy_config

TRAINING = Training("toy_sweep.py", {"data.path": "TOKENS"})


def toy_runs(workdir: Path, overrides) -> list[SweepRun]:
    sweep = SweepFile("toy_sweep.py", "train", list(overrides))
    return plan(toy_config(data__path="TOKENS"), TRAINING.shared, sweep, TRAINING, workdir)
