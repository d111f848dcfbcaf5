"""Checkpoints of several processes that share no disk: process 0 gathers and writes them.

Orbax would have each process write the arrays that its devices hold into one directory. Here each
array is put together on all devices, one after the other, and process 0 keeps a copy of it in its
memory: 16 bytes a parameter (weights, EMA and Adam's two moments, all fp32), 6 GB for 400 million.
What it writes is the same as what one process alone would write. To read a checkpoint each process
needs a copy of its own.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import NamedSharding, PartitionSpec

from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.plain_paths import plain_path
from sedd_jax.parallel.consensus import from_first, is_first, wait_for_all

_FIRST_ALONE = ocp.options.MultiprocessingOptions(
    primary_host=0, active_processes={0}, barrier_sync_key_prefix="first"
)


class GatheredCheckpoints(Checkpoints):
    """The checkpoints in a directory of each process; process 0's alone gets new ones."""

    def _open(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        if not is_first():
            return _Elsewhere(self.directory)
        return ocp.CheckpointManager(
            plain_path(self.directory),
            options=dataclasses.replace(
                self._options, create=False, multiprocessing_options=_FIRST_ALONE
            ),
            item_handlers={
                "train": ocp.StandardCheckpointHandler(multiprocessing_options=_FIRST_ALONE),
                "ema_params": ocp.StandardCheckpointHandler(multiprocessing_options=_FIRST_ALONE),
                "meta": ocp.JsonCheckpointHandler(multiprocessing_options=_FIRST_ALONE),
            },
        )

    def has(self, step: int) -> bool:
        """True when process 0 has a whole checkpoint of this step; the same at all."""
        return bool(from_first(super().has(step)))

    def _as_written(self, items: dict[str, Any]) -> dict[str, Any]:
        return gathered(items)


class _Elsewhere:
    """The stand-in for Orbax's manager in a process beside process 0: it writes nothing."""

    def __init__(self, directory: Path):
        self._directory = directory

    def all_steps(self) -> list[int]:
        """The steps of the checkpoints that were in the directory from the start."""
        return [int(path.name) for path in self._directory.glob("*") if path.name.isdigit()]

    def save(self, *_, **__) -> None:
        """Does nothing, as all that follow: process 0 does it."""

    def check_for_errors(self) -> None:
        """Does nothing."""

    def wait_until_finished(self) -> None:
        """Does nothing."""

    def reload(self) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def gathered(tree: Any) -> Any:
    """The arrays of a pytree, whole, in process 0's memory; None in their places elsewhere.

    All processes must call it alike. Of the devices' memory it needs what the largest array takes.
    """
    leaves, structure = jax.tree.flatten(tree)
    programs = [_whole(leaf.shape, leaf.dtype, leaf.sharding) for leaf in leaves]
    wait_for_all()
    copies = []
    for program, leaf in zip(programs, leaves, strict=True):
        array = jax.block_until_ready(program(leaf))
        # A copy, since the next step takes over the state's memory.
        copies.append(np.array(array.addressable_data(0)) if is_first() else None)
    return jax.tree.unflatten(structure, copies)


@functools.cache
def _whole(shape: tuple[int, ...], dtype: np.dtype, sharding: NamedSharding):
    """The program, compiled, that puts such an array together on every device."""
    everywhere = NamedSharding(sharding.mesh, PartitionSpec())
    like = jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
    return jax.jit(lambda x: x, out_shardings=everywhere).lower(like).compile()
