"""Checkpoints of a run: Orbax underneath, with what makes one trustworthy on top.

A checkpoint is a directory named by its step with three items:

    train        parameters, optimizer state and counters
    ema_params   what sampling and evaluation read
    meta         layout version, config, codec, data set, and a checksum of every array

Orbax writes it under a temporary name and renames it when it is whole, so a crash leaves no half
checkpoint behind. What a disk does to it afterwards, the checksums find.
"""

import contextlib
import dataclasses
import hashlib
import json
import logging as std_logging
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from sedd_jax.errors import UserError, one_line
from sedd_jax.mesh import path_name
from sedd_jax.state import Params, TrainState

LAYOUT_VERSION = 1
T = TypeVar("T")


class DamagedCheckpoint(Exception):
    """A checkpoint that cannot be read back as it was written; its text says why."""


@dataclasses.dataclass(frozen=True)
class Meta:
    """What a checkpoint says about itself. dataset: identity of the training data."""

    step: int
    config: Mapping[str, Any]
    codec: Mapping[str, Any]
    dataset: str
    checksums: Mapping[str, int] = dataclasses.field(default_factory=dict)  # filled by `save`
    layout_version: int = LAYOUT_VERSION


@jax.jit
def _checksums(tree) -> list[jax.Array]:
    """A 32-bit wrap-around sum of the words of every leaf.

    Any flipped bit changes it, and it does not depend on how the leaf is sharded.
    """
    return [
        jnp.sum(jax.lax.bitcast_convert_type(leaf, jnp.uint32), dtype=jnp.uint32)
        for leaf in jax.tree.leaves(tree)
    ]


def checksums(tree) -> dict[str, int]:
    """Path → checksum of every array of 4-byte elements in a pytree."""
    names = [path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]
    return dict(zip(names, map(int, jax.device_get(_checksums(tree))), strict=True))


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _as_items(state: TrainState) -> dict[str, Any]:
    train = {
        field.name: getattr(state, field.name)
        for field in dataclasses.fields(state)
        if field.name != "ema_params"
    }
    return {"train": train, "ema_params": state.ema_params}


def _not_of_orbax(record: std_logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _quiet_orbax() -> None:
    """Silences pages of traceback about errors that Orbax also raises: its log, and what is left
    of the other reads or writes when one has failed."""
    logging.get_absl_logger().addFilter(_not_of_orbax)
    usual = sys.unraisablehook
    if getattr(usual, "quiets_orbax", False):
        return

    def hook(unraisable) -> None:
        code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
        dropped = code is not None and "orbax" in code.co_filename
        if not dropped and str(unraisable.exc_value) != "Event loop is closed":
            usual(unraisable)

    hook.quiets_orbax = True
    sys.unraisablehook = hook


def _reason(error: Exception) -> str:
    """Why a save or a restore failed, on one short line."""
    no_space = ("No space left on device", "Disk quota exceeded", "File too large")
    return next((text for text in no_space if text in str(error)), one_line(error, limit=120))


class Checkpoints:
    """The checkpoints of one run; a context manager that waits for the last save.

    keep_last: how many of the newest to keep; keep_every: also keep every step divisible by it
    (0: none). read_only: never change the directory.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        keep_last: int = 1,
        keep_every: int = 0,
        read_only: bool = False,
    ):
        self.directory = Path(directory).absolute()
        self._read_only = read_only
        _quiet_orbax()
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None if read_only else keep_last,
            keep_period=keep_every or None,
            read_only=read_only,
            create=not read_only,
        )
        handlers = {
            "train": ocp.StandardCheckpointHandler(),
            "ema_params": ocp.StandardCheckpointHandler(),
            "meta": ocp.JsonCheckpointHandler(),
        }
        self._manager = ocp.CheckpointManager(
            self.directory, options=options, item_handlers=handlers
        )

    @property
    def steps(self) -> list[int]:
        """Steps of the whole checkpoints, ascending."""
        return sorted(self._manager.all_steps())

    def save(self, state: TrainState, meta: Meta) -> None:
        """Starts writing a checkpoint in the background; all hosts must call it.

        Raises UserError when this save cannot start or an earlier one failed.
        """
        items = _as_items(state)
        meta = dataclasses.replace(meta, checksums=checksums(items))
        args = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
        values = dataclasses.asdict(meta)
        args["meta"] = ocp.args.JsonSave(values | {"digest": _digest(values)})
        self.check()
        with self._save_errors():
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

    def newest(self, read: Callable[[int], T]) -> T:
        """`read(step)` of the newest checkpoint that it can read.

        A damaged one is reported and, unless read_only, moved aside, so that its step can be
        saved anew. Raises UserError when there is none, or none whole.
        """
        damaged = []
        for step in reversed(self.steps):
            try:
                return read(step)
            except DamagedCheckpoint as error:
                damaged.append(step)
                logging.warning("%s: trying an older checkpoint", error)
                if not self._read_only:
                    self._move_aside(step)
        if damaged:
            raise UserError(f"{self.directory}: none of the checkpoints {damaged} can be read")
        raise UserError(f"{self.directory} holds no checkpoint yet")

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
        values = self._read(step, "meta", ocp.args.JsonRestore())
        if not isinstance(values, dict) or values.pop("digest", None) != _digest(values):
            raise DamagedCheckpoint(f"{self.directory / str(step)}/meta is damaged: wrong digest")
        if values["layout_version"] != LAYOUT_VERSION:
            raise UserError(
                f"{self.directory / str(step)} has layout {values['layout_version']}, this program "
                f"reads {LAYOUT_VERSION}: use the version that wrote it"
            )
        return Meta(**values)

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
        stored = self._stored_shapes(meta.step, item)
        wanted = {
            path_name(path): (tuple(leaf.shape), np.dtype(leaf.dtype))
            for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
        }
        # Orbax would cast or pad without a word.
        for name in sorted(wanted.keys() | stored.keys()):
            if stored.get(name) != wanted.get(name):
                raise UserError(
                    f"{where} does not fit the config: {name} is {_describe(stored.get(name))} "
                    f"there, {_describe(wanted.get(name))} here"
                )
        tree = self._read(meta.step, item, ocp.args.StandardRestore(shapes))
        for name, checksum in checksums({item: tree}).items():
            if checksum != meta.checksums.get(name):
                raise DamagedCheckpoint(f"{where} is damaged: the checksum of {name} is wrong")
        return tree

    def _stored_shapes(self, step: int, item: str) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        try:
            tree = self._manager.item_metadata(step)[item].tree
        except Exception as error:  # whatever a damaged file makes Orbax or TensorStore raise
            raise self._damaged(step, item, error) from error
        return {
            path_name(path): (tuple(leaf.shape), np.dtype(leaf.dtype))
            for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
        }

    def _read(self, step: int, item: str, args):
        try:
            return self._manager.restore(step, args=ocp.args.Composite(**{item: args}))[item]
        except Exception as error:  # as above: no narrower class covers them
            raise self._damaged(step, item, error) from error

    def _damaged(self, step: int, item: str, error: Exception) -> DamagedCheckpoint:
        where = self.directory / str(step) / item
        return DamagedCheckpoint(f"{where} is damaged: {_reason(error)}")

    def _move_aside(self, step: int) -> None:
        place = self.directory / str(step)
        place.rename(place.with_name(f"damaged-{step}"))
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
        # An error is on its way already: that of a save in the background must not replace it.
        with contextlib.nullcontext() if error_type is None else contextlib.suppress(Exception):
            self._manager.close()


def _describe(shape_and_dtype: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return "absent" if shape_and_dtype is None else f"{shape_and_dtype[1]}{shape_and_dtype[0]}"
