"""Shapes and dtypes of the arrays of a checkpoint's item, and whether two items have the same."""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from sedd_jax.errors import UserError
from sedd_jax.parallel.mesh import path_name

Shapes = dict[str, tuple[tuple[int, ...], np.dtype]]  # path of an array → its shape and dtype


def shapes_of(tree: Any) -> Shapes:
    """The shapes of a pytree's leaves, which need not be more than descriptions of arrays."""
    return {
        path_name(path): (tuple(leaf.shape), np.dtype(leaf.dtype))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def require_same(where: Path, stored: Shapes, wanted: Shapes) -> None:
    """Raises UserError where what is stored is not what is wanted.

    Orbax would cast or pad without a word.
    """
    for name in sorted(wanted.keys() | stored.keys()):
        if stored.get(name) != wanted.get(name):
            raise UserError(
                f"{where} does not fit the config: {name} is {_describe(stored.get(name))} there, "
                f"{_describe(wanted.get(name))} here"
            )


def _describe(shape_and_dtype: tuple[tuple[int, ...], np.dtype] | None) -> str:
    return "absent" if shape_and_dtype is None else f"{shape_and_dtype[1]}{shape_and_dtype[0]}"
