"""The runs of a sweep: read from its file, checked, and named by what they override."""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from ml_collections import ConfigDict

from sedd_jax import config_arguments
from sedd_jax.config import flatten
from sedd_jax.errors import UserError

LOG_FILE = "sweep.log"
MAX_NAME = 150  # characters; a file name may have 255 bytes


@dataclass(frozen=True)
class SweepRun:
    """One run. overrides: what sets it apart; config: the whole, base included."""

    overrides: Mapping[str, Any]
    config: ConfigDict
    directory: Path

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def log(self) -> Path:
        """The file that the output of its processes goes to."""
        return self.directory / LOG_FILE


@dataclass(frozen=True)
class Progress:
    """The progress of a run, by what is on disk. text: for people, empty when there is nothing."""

    is_finished: bool
    text: str


class Command(Protocol):
    """A command that a sweep runs: its configs, its command line and what it leaves on disk."""

    module: str
    default_metric: str

    def complete(self, config: ConfigDict) -> None:
        """Checks a run's config and fills in what is to be fixed. Raises UserError."""

    def check_inputs(self, runs: Sequence[SweepRun]) -> None:
        """Refuses what the runs would refuse of the files that they read. Raises UserError."""

    def line(self, run: SweepRun) -> list[str]:
        """The command line of a run; given again, it goes on where it was."""

    def after(self, run: SweepRun) -> list[list[str]]:
        """Command lines for one process, once that of the run is done."""

    def progress(self, run: SweepRun) -> Progress:
        """Raises UserError when the directory holds a run of another config."""

    def history(self, run: SweepRun) -> list[dict[str, float | None]]:
        """The run's metrics, oldest first; None for a value that is not finite."""

    def reference(self, run: SweepRun) -> dict[str, float]:
        """The same metrics of real data, where there are any to be had."""


@dataclass(frozen=True)
class SweepFile:
    """A config file beside whose get_config() there is a sweep(). command: train or sample."""

    path: str  # as given, "file.py" or "file.py:argument"
    command: str
    overrides: Sequence[Mapping[str, Any]]

    @property
    def name(self) -> str:
        return Path(self.path.partition(":")[0]).stem


def read_sweep(path: str) -> SweepFile:
    """Reads a sweep; what follows a colon in `path` goes to sweep(), as it does to get_config().

    Raises UserError when there is no such file, no sweep() in it, or it yields nothing or no dicts.
    """
    file, arguments = config_arguments.find(path)
    names = {} if file.suffix == ".json" else config_arguments.run_file(file)
    if "sweep" not in names:
        raise UserError(f"{path} defines no sweep(): see configs/sweeps/")
    rows = config_arguments.call(file, names["sweep"], arguments)
    with config_arguments.running(file):
        overrides = list(rows)
    if not overrides or not all(isinstance(override, Mapping) for override in overrides):
        raise UserError(f"sweep() of {path} must yield dicts of overrides, one at least")
    return SweepFile(path, names.get("COMMAND", "train"), overrides)


def plan(
    base: ConfigDict,
    fixed: Iterable[str],
    sweep: SweepFile,
    command: Command,
    workdir: Path,
) -> list[SweepRun]:
    """The runs, in the sweep's order, all checked.

    Args:
      base: what all runs share.
      fixed: keys of it that were set for all runs, so that the sweep may not.

    Raises UserError naming the first run that cannot be.
    """
    fixed, runs = set(fixed), []
    for number, overrides in enumerate(sweep.overrides, 1):
        try:
            if clash := sorted(fixed & overrides.keys()):
                raise UserError(f"config.{clash[0]} is swept: it cannot be set for all runs")
            config = _overridden(base, overrides)
            command.complete(config)
        except UserError as error:
            where = f"run {number} of {len(sweep.overrides)} {dict(overrides)}"
            raise UserError(f"{where}: {error}") from error
        values = dict(flatten(config))
        overrides = {key: values[key] for key in overrides}  # as the config's types have them
        runs.append(SweepRun(overrides, config.lock(), workdir / run_name(overrides)))
    names = [run.name for run in runs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"sweep() of {sweep.path} yields {twice[0]} twice")
    return runs


def _overridden(base: ConfigDict, overrides: Mapping[str, Any]) -> ConfigDict:
    known = dict(flatten(base))
    for key in overrides:
        if key not in known:
            raise config_arguments.unknown_key(key, list(known))
    config = base.copy_and_resolve_references()
    for key, value in overrides.items():
        value = value.item() if isinstance(value, np.generic) else value
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError) as error:
            usual = f"by default it is {known[key]!r}"
            raise UserError(f"config.{key} cannot be {value!r}: {usual}") from error
    return config


def run_name(overrides: Mapping[str, Any]) -> str:
    """A folder name that depends on the overrides alone, so that it stays as a sweep grows."""
    exact = ",".join(f"{key}={value}" for key, value in sorted(overrides.items())) or "base"
    name = re.sub(r"[^A-Za-z0-9._=,+-]", "_", exact)
    if name == exact and len(name) <= MAX_NAME:
        return name
    return f"{name[:MAX_NAME]}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


def swept_keys(runs: Sequence[SweepRun]) -> list[str]:
    """Keys whose values tell the runs apart, in the order in which the sweep sets them."""
    keys = dict.fromkeys(key for run in runs for key in run.overrides)
    values = {key: {dict(flatten(run.config))[key] for run in runs} for key in keys}
    return [key for key in keys if len(values[key]) > 1] or list(keys)
