"""The description that a checkpoint carries, and the checksums by which its arrays are known."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from sedd_jax.parallel.mesh import path_name

LAYOUT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Meta:
    """The description of a checkpoint.

    dataset: identity of the training data; vocabulary: of the tags, as Vocabulary.to_json has it;
    origin: the model that the run started from, {} for none (sedd_jax/training/origin.py);
    history: changes of its config at resume, {"step": …, "changed": {key: [old, new]}} each;
    validation: of these EMA weights, {} where none was measured (sedd_jax/checkpoints/best.py).
    """

    step: int
    config: Mapping[str, Any]
    codec: Mapping[str, Any]
    dataset: str
    checksums: Mapping[str, int] = dataclasses.field(default_factory=dict)  # filled by `save`
    layout_version: int = LAYOUT_VERSION
    vocabulary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    origin: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    validation: Mapping[str, Any] = dataclasses.field(default_factory=dict)


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


def digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
