"""A place for samples while a long job makes them, and the token dataset that they become.

    NEW/sampling.json                  what is being sampled; written first
    NEW/part-00000032-00000064.npy     uint16 (n, L): finished samples of these indices
    NEW/generated-….array_record       then, from the parts,
    NEW/dataset.json                   last; the files above it are then removed

A job that was stopped goes on where it was when it is asked for the same samples again. When it is
asked for more of them, what there is stays, and is whole until those that are missing are there.
NEW may be a URL of an object store, to which each part is copied as soon as it is made.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file, write_json_atomically
from tokenizer_bridge.token_dataset.locks import alone_in
from tokenizer_bridge.token_dataset.mirrors import folder_at
from tokenizer_bridge.token_dataset.paths import is_url, local_path
from tokenizer_bridge.token_dataset.records import (
    DATASET_FILE,
    Record,
    TokenDataset,
    TokenDatasetWriter,
)
from tokenizer_bridge.token_dataset.vectors import Vectors

SPLIT = "generated"
SETTINGS_FILE = "sampling.json"
_PART_NAME = re.compile(r"part-(\d{8})-(\d{8})\.npy")


class SampleStore:
    """The output directory of a sampling job.

    place: a path, created if missing, or a URL. settings: JSON values that say which samples are
    wanted: num_samples, length and all that they depend on; jobs of equal settings make equal
    samples. codec: of the tokens, as dataset.json has it. tags_N, vectors_N: what each sample was
    asked to be, for its record. settings_of: the settings of the first n samples alone; by default
    those of all. name: of the samples, before the index of each.

    Raises UserError when the directory holds anything else, or cannot be written.

    Attributes: place; path, where the files are on this machine.
    """

    def __init__(
        self,
        place: str | Path,
        settings: Mapping[str, Any],
        codec: Mapping[str, Any],
        tags_N: Sequence[Sequence[str]] | None = None,
        vectors_N: Sequence[Vectors] | None = None,
        settings_of: Callable[[int], Mapping[str, Any]] | None = None,
        name: str = "sample",
    ):
        self._folder = folder_at(place)
        self.place, self.path = self._folder.place, self._folder.path
        self.settings, self.codec = dict(settings), dict(codec)
        self.tags_N, self.vectors_N, self.name = tags_N, vectors_N, name
        self._settings_of = settings_of or (lambda n: self.settings | {"num_samples": n})
        self.num_samples = settings["num_samples"]
        self.is_whole = False
        self._made: list[Path] = []  # by this job, before any sample
        names = self._folder.names()
        if names and not {DATASET_FILE, SETTINGS_FILE} & {*names}:
            raise UserError(f"{place} is not empty: choose another directory")
        self._folder.fetch(names)
        with _write_errors(place), self._folder.naming():
            self._open()
        self._folder.push(DATASET_FILE)

    def _open(self) -> None:
        if (self.path / DATASET_FILE).exists():
            dataset = TokenDataset(self.path)
            if self._is_part(dataset.origin, self.path / DATASET_FILE):
                tokens_nxL = np.stack([record.tokens for record in dataset.records(SPLIT)])
                self.save(np.arange(len(tokens_nxL)), tokens_nxL)
                write_json_atomically(self.path / SETTINGS_FILE, self.settings)
                return
            self.is_whole = True
            self._clear()  # of a job stopped between writing the dataset and clearing up
        elif (self.path / SETTINGS_FILE).exists():
            if self._is_part(_read_json(self.path / SETTINGS_FILE), self.path / SETTINGS_FILE):
                write_json_atomically(self.path / SETTINGS_FILE, self.settings)
        else:
            if not self.path.exists():
                self.path.mkdir(parents=True)
                self._made.append(self.path)
            if any(self.path.iterdir()):
                raise UserError(f"{self.path} is not empty: choose another directory")
            write_json_atomically(self.path / SETTINGS_FILE, self.settings)
            self._made.append(self.path / SETTINGS_FILE)

    def withdraw(self) -> None:
        """Leaves the directory as this job found it, unless samples have been saved since."""
        if self.is_whole or self._parts():
            return
        for path in reversed(self._made):
            path.rmdir() if path.is_dir() else path.unlink()
        self._made = []
        self._folder.push()

    def _is_part(self, found: Mapping[str, Any], where: Path) -> bool:
        """True for the settings of fewer of these samples. Raises UserError for other samples."""
        number, wanted, is_part = found.get("num_samples"), self.settings, False
        if isinstance(number, int) and 0 < number < self.num_samples:
            wanted, is_part = dict(self._settings_of(number)), True
        for key, value in wanted.items():
            if found.get(key) != value:
                raise UserError(
                    f"{where} holds other samples ({key} {found.get(key)!r}, not {value!r}): "
                    "choose another directory"
                )
        return is_part

    def missing(self) -> np.ndarray:
        """Ascending indices of the samples still to be made, int64."""
        missing_N = np.full(self.num_samples, not self.is_whole)
        for start, stop in self._parts():
            missing_N[start:stop] = False
        return np.nonzero(missing_N)[0]

    def save(self, indices_b: np.ndarray, tokens_bxL: np.ndarray) -> None:
        """Keeps finished samples, indices ascending."""
        # A part is a run of neighbours, and what a stopped job left undone may have gaps.
        gaps = np.nonzero(np.diff(indices_b) != 1)[0] + 1
        for run_b in np.split(np.arange(len(indices_b)), gaps):
            start, stop = int(indices_b[run_b[0]]), int(indices_b[run_b[-1]]) + 1
            with atomic_file(self._part_path(start, stop)) as temporary:
                with open(temporary, "wb") as file:  # np.save would add .npy to a path
                    np.save(file, tokens_bxL[run_b].astype(np.uint16))
        self._folder.push(DATASET_FILE)

    def finish(self, **measured: float | str | None) -> None:
        """Turns the parts, which must hold every sample, into the token dataset.

        measured: figures and notes of the job, kept in the dataset's origin beside the settings.
        Raises UserError for a damaged part, or one that another process has taken away.
        """
        if num_missing := len(self.missing()):
            raise UserError(
                f"{self.place}: {num_missing} finished samples have gone, another process was at "
                "work there: run the same command again"
            )
        tokens_NxL = np.zeros((self.num_samples, self.settings["length"]), np.uint16)
        for start, stop in self._parts():
            tokens_NxL[start:stop] = self._read_part(start, stop)
        seconds = self.settings["length"] * self.codec["hop_length"] / self.codec["sample_rate"]
        shared = {
            key: value
            for key, value in self.settings.items()
            if key not in ("num_samples", "length") and value is not None
        }
        origin = self.settings | measured
        (self.path / DATASET_FILE).unlink(missing_ok=True)  # that of fewer samples
        widths = {k: len(v) for row in self.vectors_N or () for k, v in row.items()}
        with TokenDatasetWriter(self.path, self.codec, origin, vectors=widths) as writer:
            for index, tokens_L in enumerate(tokens_NxL):
                source = shared | {"sample_index": index}
                tags = tuple(self.tags_N[index]) if self.tags_N else ()
                vectors = self.vectors_N[index] if self.vectors_N else {}
                record = Record(
                    f"{self.name}-{index:05d}", tokens_L, seconds, tags=tags, source=source,
                    vectors=vectors,
                )  # fmt: skip
                writer.write(SPLIT, record)
        self.is_whole = True
        self._clear()
        self._folder.push(DATASET_FILE)

    def _clear(self) -> None:
        for start, stop in self._parts():
            self._part_path(start, stop).unlink()
        for killed in self.path.glob(".part-*.partial"):
            killed.unlink()
        (self.path / SETTINGS_FILE).unlink(missing_ok=True)

    def _parts(self) -> list[tuple[int, int]]:
        names = [_PART_NAME.fullmatch(path.name) for path in self.path.iterdir()]
        return [(int(name[1]), int(name[2])) for name in names if name]

    def _part_path(self, start: int, stop: int) -> Path:
        return self.path / f"part-{start:08d}-{stop:08d}.npy"

    def _read_part(self, start: int, stop: int) -> np.ndarray:
        path = self._part_path(start, stop)
        damaged = self._folder.named(f"{path} is damaged: delete it and run the command again")
        try:
            tokens = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise UserError(damaged) from error
        if tokens.shape != (stop - start, self.settings["length"]) or tokens.dtype != np.uint16:
            raise UserError(damaged)
        return tokens


class NoStore:
    """A store for the processes beside process 0: it misses nothing and keeps nothing."""

    def missing(self) -> np.ndarray:
        """No indices (0,)."""
        return np.zeros(0, np.int64)

    def save(self, indices_b: np.ndarray, tokens_bxL: np.ndarray) -> None:
        """Does nothing: process 0 keeps these samples."""

    def finish(self, **measured: float | str | None) -> None:
        """Does nothing: process 0 writes the data set."""

    def withdraw(self) -> None:
        """Does nothing: there is nothing to take back."""


@contextlib.contextmanager
def sole_sampler(place: str | Path) -> Iterator[None]:
    """Holds the output of a sampling job against a second one. Raises UserError as `SampleStore`,
    and when another process is at work there."""
    with contextlib.ExitStack() as held:
        if not is_url(place):
            said = f"{place}: another process is sampling there; stop it or choose another place"
            with _write_errors(place):
                held.enter_context(alone_in(Path(local_path(os.fspath(place))), said))
        yield


@contextlib.contextmanager
def _write_errors(place: str | Path) -> Iterator[None]:
    """A context in which a directory that cannot be written to becomes one line that names it."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        raise UserError(f"cannot write to {place}: {error.strerror}") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: choose another directory") from error
