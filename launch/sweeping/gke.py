"""Runs of a sweep as JobSets of a GKE cluster: launch.gke_jobset writes each."""

import hashlib
import re
import subprocess
import sys
from collections.abc import Sequence

from launch.sweeping.runs import SweepRun
from launch.sweeping.training import Training
from sedd_jax.errors import UserError, one_line

MAX_NAME = 40  # characters of a JobSet's name that launch.gke_jobset takes


def job_sets(
    name: str, runs: Sequence[SweepRun], training: Training, options: Sequence[str]
) -> str:
    """YAML documents, one JobSet a run, so that runs are queued, fail and restart alone.

    options: arguments of launch.gke_jobset that all runs share.
    Raises UserError with what launch.gke_jobset has to say.
    """
    return "---\n".join(_job_set(name, run, training, options) for run in runs)


def job_name(sweep: str, run: str) -> str:
    """A name in the cluster that depends on the sweep's and the run's names alone."""
    digest = hashlib.sha256(run.encode()).hexdigest()[:8]
    stem = re.sub(r"[^a-z0-9]+", "-", f"sweep-{sweep.lower()}")
    return f"{stem[: MAX_NAME - len(digest) - 1].strip('-')}-{digest}"


def _job_set(name: str, run: SweepRun, training: Training, options: Sequence[str]) -> str:
    command = [
        *(sys.executable, "-m", "launch.gke_jobset", "--dry_run"),
        f"--name={job_name(name, run.name)}",
        f"--config={training.config_file}",
        f"--tokens={run.config.data.path}",
        f"--workdir={run.directory}",
        *options,
        "--",
        *(flag for flag in training.overrides(run) if not flag.startswith("--config.data.path=")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [""]
        raise UserError(f"launch.gke_jobset: {one_line(Exception(lines[-1]))}")
    manifest = done.stdout[done.stdout.index("apiVersion:") :]  # without the command above it
    return f"# {run.name}\n{manifest}"
