"""Checkpoints of a run: Orbax underneath, with what makes one trustworthy on top.

A checkpoint is a directory named by its step with three items:

    train        parameters, optimizer state, counters, and a teacher where there is one
    ema_params   what sampling and evaluation read
    meta         layout version, config, codec, data set, and a checksum of every array

Orbax writes it under a temporary name and renames it when it is whole, so a crash leaves no half
checkpoint behind. What a disk does to it afterwards, the checksums find.

With several processes, each writes and reads the parts that its devices hold, in one directory
that all share. All of them must call what is public here, and all take the same turn: one that
cannot read its part makes the checkpoint a damaged one for all.
"""

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import orbax.checkpoint as ocp
from absl import logging

from sedd_jax.checkpoints.best import BestPolicy, Validation, lowest, policy
from sedd_jax.checkpoints.meta import LAYOUT_VERSION, Meta, checksums, digest
from sedd_jax.checkpoints.orbax_logging import quiet_orbax
from sedd_jax.checkpoints.plain_paths import plain_path
from sedd_jax.checkpoints.read_errors import describe, obstacle, release
from sedd_jax.checkpoints.shapes import Shapes, require_same, shapes_of
from sedd_jax.checkpoints.unfinished import remove_unfinished
from sedd_jax.errors import UserError, one_line
from sedd_jax.parallel.consensus import any_process, from_first, is_first
from sedd_jax.state import Params, TrainState
from tokenizer_bridge.token_dataset.errors import NO_SPACE_TEXTS

SAVE_TIMEOUT_S = 600  # after which processes no longer wait for one that could not write its part
SEEN_WITHIN_S = 60.0  # so long a shared disk may hide from one process what another has written
T = TypeVar("T")


class DamagedCheckpoint(Exception):
    """A checkpoint that cannot be read back as it was written; its text says why."""


def _as_items(state: TrainState) -> dict[str, Any]:
    train = {
        field.name: getattr(state, field.name)
        for field in dataclasses.fields(state)
        if field.name != "ema_params" and getattr(state, field.name) is not None
    }
    return {"train": train, "ema_params": state.ema_params}


def _reason(error: Exception) -> str:
    """The reason why a save or a restore failed, on one short line."""
    return next((text for text in NO_SPACE_TEXTS if text in str(error)), one_line(error, limit=120))


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last save.

    keep_last: how many of the newest to keep; keep_every: also keep every step divisible by it
    (0: none); keep_best: also keep so many of the lowest validation. read_only: never change the
    directory.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep_last: int = 1,
        keep_every: int = 0,
        keep_best: int = 0,
        read_only: bool = False,
    ):
        self.directory = Path(directory).absolute()
        self._read_only = read_only
        quiet_orbax()
        self.best = BestPolicy(keep_best)
        self._last_begun: int | None = None  # the step of the last save, which may fail
        self._options = ocp.CheckpointManagerOptions(
            preservation_policy=None if read_only else policy(keep_last, keep_every, self.best),
            read_only=read_only,
            create=not read_only,
            cleanup_tmp_directories=not read_only,
            async_options=ocp.AsyncOptions(timeout_secs=SAVE_TIMEOUT_S),
        )
        self._handlers = {
            "train": ocp.StandardCheckpointHandler(),
            "ema_params": ocp.StandardCheckpointHandler(),
            "meta": ocp.JsonCheckpointHandler(),
        }
        self._manager = self._open()
        if keep_best:
            self.best.validations |= self._validations()

    def _open(self) -> ocp.CheckpointManager:
        if not self._read_only:
            self.directory.mkdir(parents=True, exist_ok=True)  # which Orbax cannot through a link
        return ocp.CheckpointManager(
            plain_path(self.directory), options=self._options, item_handlers=self._handlers
        )

    def reopen(self) -> None:
        """Forgets a save that failed and removes what it left, so that there can be another."""
        with contextlib.suppress(Exception):  # the failure, once more
            self._manager.close()
        with self._save_errors():
            if is_first():
                remove_unfinished(self.directory)
            self._manager = self._open()
        if self._last_begun is not None and not from_first(self.has(self._last_begun)):
            self.best.forget(self._last_begun)

    @property
    def steps(self) -> list[int]:
        """Steps of the whole checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def has(self, step: int) -> bool:
        """True when there is a whole checkpoint of this step."""
        return step in self.steps

    def _as_written(self, items: dict[str, Any]) -> dict[str, Any]:
        """The items as Orbax gets them."""
        return items

    def save(self, state: TrainState, meta: Meta) -> None:
        """Starts writing a checkpoint in the background; all hosts must call it.

        Raises UserError when this save cannot start or an earlier one failed.
        """
        items = _as_items(state)
        meta = dataclasses.replace(meta, checksums=checksums(items))
        written = self._as_written(items).items()
        args = {name: ocp.args.StandardSave(tree) for name, tree in written}
        values = dataclasses.asdict(meta)
        args["meta"] = ocp.args.JsonSave(values | {"digest": digest(values)})
        self.check()
        with self._save_errors():
            plain_path(self.directory)  # is there still, in a run of weeks
            self._last_begun = meta.step
            self.best.add(meta.step, meta.validation)
            self._manager.save(meta.step, args=ocp.args.Composite(**args), force=True)

    def check(self) -> None:
        """Raises UserError when a save in the background has failed."""
        with self._save_errors():
            self._manager.check_for_errors()

    def wait(self) -> None:
        """Returns when the last save is whole. Raises UserError when it failed."""
        with self._save_errors():
            self._manager.wait_until_finished()
        self.check()

    @property
    def is_empty(self) -> bool:
        """True when there is no checkpoint that may be whole."""
        return self._newest_but([]) is None

    @property
    def has_damaged(self) -> bool:
        """True when there is one that was found damaged and moved aside."""
        return bool(from_first(any(self.directory.glob("damaged-*"))))

    def _newest_but(self, damaged: Sequence[int]) -> int | None:
        """The newest step that process 0 sees: a shared disk may show it later to another."""
        left = [step for step in self.steps if step not in damaged]
        newest = from_first(left[-1] if left else -1)
        return None if newest < 0 else newest

    def _is_superseded(self, unread: Sequence[int]) -> bool:
        """True where a training has saved a newer one meanwhile, and may have removed these."""
        if self._read_only:
            self._manager.reload()
        return self._read_only and (self._newest_but(unread) or -1) > unread[-1]

    def newest(self, read: Callable[[int], T]) -> T:
        """`read(step)` of the newest checkpoint that it can read.

        Where a training replaces it meanwhile, it is that of the new one.
        A damaged one is reported and, unless read_only, moved aside once an older one could be
        read, so that its step can be saved anew. Raises UserError when there is none, none whole,
        or when something else stands in the way of reading one.
        """
        damaged: list[int] = []
        while (step := self._newest_but(damaged)) is not None:
            try:
                result = read(step)
            except DamagedCheckpoint as error:
                damaged.append(step)
                if not self._is_superseded(damaged):
                    logging.warning("%s: trying an older checkpoint", error)
                continue
            if damaged and not self._read_only:
                self._move_aside(damaged)
            return result
        if damaged:
            raise UserError(
                f"{self.directory}: none of the checkpoints {damaged} can be read: put a copy in "
                "their place, or move the directory away to start anew"
            )
        raise UserError(f"{self.directory} holds no checkpoint yet")

    def _validations(self) -> dict[int, Validation]:
        """Step → validation of the checkpoints that have one and can be read."""
        found, seen = {}, list[int]()
        while (step := self._newest_but(seen)) is not None:
            seen.append(step)
            with contextlib.suppress(DamagedCheckpoint):
                if validation := self.read_meta(step).validation:
                    found[step] = validation
        return found

    def at_best(self, read: Callable[[int], T]) -> T:
        """`read(step)` of the checkpoint of lowest validation. Raises UserError as `at`."""
        if not (steps := lowest(self._validations())):
            raise UserError(f"{self.directory} has no checkpoint whose validation was measured")
        return self.at(steps[0], read)

    def at(self, step: int, read: Callable[[int], T]) -> T:
        """`read(step)`. Raises UserError when there is no such checkpoint or it is damaged."""
        if step not in self.steps:
            kept = ", ".join(map(str, self.steps)) or "none"
            raise UserError(f"{self.directory} has no checkpoint of step {step}; it has {kept}")
        try:
            return read(step)
        except DamagedCheckpoint as error:
            raise UserError(str(error)) from error

    def read_meta(self, step: int) -> Meta:
        """Raises DamagedCheckpoint, and UserError for a layout that this program does not know."""
        values = self._read(step, "meta", self._read_meta)
        if values["layout_version"] != LAYOUT_VERSION:
            raise UserError(
                f"{self.directory / str(step)} has layout {values['layout_version']}, this program "
                f"reads {LAYOUT_VERSION}: use the version that wrote it"
            )
        return Meta(**values)

    def _read_meta(self, where: Path) -> dict[str, Any]:
        values = self._handlers["meta"].restore(where, args=ocp.args.JsonRestore())
        if not isinstance(values, dict) or values.pop("digest", None) != digest(values):
            raise ValueError("wrong digest")
        return values

    def restore(self, meta: Meta, shapes: TrainState) -> TrainState:
        """The train state of a checkpoint, placed as `shapes` (with shardings) say.

        Raises UserError for other shapes or dtypes, DamagedCheckpoint.
        """
        items = {name: self._restore(meta, name, tree) for name, tree in _as_items(shapes).items()}
        return TrainState(**items["train"], ema_params=items["ema_params"])

    def restore_ema(self, meta: Meta, shapes: Params) -> Params:
        """The EMA parameters alone. Raises as `restore`."""
        return self._restore(meta, "ema_params", shapes)

    def _restore(self, meta: Meta, item: str, shapes):
        where = self.directory / str(meta.step) / item
        stored = self._read(meta.step, item, self._stored_shapes)
        require_same(where, stored, shapes_of(shapes))
        restore = ocp.args.StandardRestore(shapes)
        tree = self._read(
            meta.step, item, lambda where: self._handlers[item].restore(where, args=restore)
        )
        for name, checksum in checksums({item: tree}).items():
            if checksum != meta.checksums.get(name):
                raise DamagedCheckpoint(f"{where} is damaged: the checksum of {name} is wrong")
        return tree

    def _stored_shapes(self, where: Path) -> Shapes:
        return shapes_of(self._handlers["train"].metadata(where).tree)

    def _read(self, step: int, item: str, read: Callable[[Path], T]) -> T:
        """The result of `read` on an item; no process gets one when one of them fails.

        It goes past the CheckpointManager, in which the others would wait for the one that failed.
        A read that fails with nothing in the way is tried again: what was in the way may have gone.
        """
        where = self.directory / str(step) / item
        result, error, in_the_way = None, None, None
        for _ in range(2):
            try:
                self._wait_to_see(step)
                result, error = read(plain_path(self.directory) / str(step) / item), None
            except Exception as raised:  # whatever a damaged file makes Orbax or TensorStore raise
                error, in_the_way = raised, obstacle(raised, where)
            if error is None or in_the_way is not None:
                break
            release(error)
        if not any_process(error is not None):
            return result
        if any_process(in_the_way is not None):
            if in_the_way is None:
                raise UserError(f"{where} cannot be read by another process") from error
            said = describe(in_the_way, where)
            if jax.process_count() > 1:  # which of them ends the job is chance
                logging.warning("%s", said)
            raise UserError(said) from error
        if self._read_only and from_first(not (self.directory / str(step)).is_dir()):
            raise DamagedCheckpoint(f"{where.parent} has been removed meanwhile") from error
        reason = "another process says so" if error is None else _reason(error)
        raise DamagedCheckpoint(f"{where} is damaged: {reason}") from error

    def _wait_to_see(self, step: int) -> None:
        """Raises TimeoutError for a checkpoint that is not there, or not visible yet."""
        place = self.directory / str(step)
        if self._read_only and is_first() and not place.is_dir():  # which has listed it
            raise FileNotFoundError(f"{place} has been removed by the run's training")
        deadline = time.monotonic() + SEEN_WITHIN_S
        while not place.is_dir():
            if time.monotonic() >= deadline:
                raise TimeoutError(f"{place} is not there, or this machine does not see it")
            time.sleep(0.05)

    def _move_aside(self, steps: Sequence[int]) -> None:
        if is_first():
            for step in steps:
                names = itertools.chain(
                    [f"damaged-{step}"], (f"damaged-{step}-{n}" for n in itertools.count(2))
                )
                free = next(name for name in names if not (self.directory / name).exists())
                (self.directory / str(step)).rename(self.directory / free)
        any_process(False)  # waits for it
        self._manager.reload()

    @contextlib.contextmanager
    def _save_errors(self):
        """Failures of Orbax's background threads arrive as they come: OSError, ValueError, …"""
        try:
            yield
        except Exception as error:
            raise UserError(
                f"a checkpoint could not be saved in {self.directory}: {_reason(error)}; "
                "the earlier ones are whole"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        if error_type is None:
            self.wait()
            self._manager.close()
        elif jax.process_count() == 1:
            # An error is on its way already: that of a save in the background must not replace it.
            with contextlib.suppress(Exception):
                self._manager.close()
        # Else the others may never come to where closing would wait for them.
