"""The device mesh and what lives where on it.

Axes: `data` and `fsdp` split the batch; `fsdp` also splits parameters, `tensor` the inner
dimensions of a block. What is split how is said here, by parameter path, and nowhere else.
"""

import re
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sedd_jax.errors import UserError

AXES = ("data", "fsdp", "tensor")
BATCH_AXES = ("data", "fsdp")

P = PartitionSpec
# The first rule whose pattern is found in a path wins. It serves parameters, and by the same
# path ends the optimizer's moments and the EMA. The leading None of blocks is the stack over N.
RULES: tuple[tuple[str, PartitionSpec], ...] = (
    (r"vocab_embed/embedding$", P(None, "fsdp")),
    (r"blocks/attn_qkv/kernel$", P(None, "fsdp", None, "tensor")),
    (r"blocks/attn_out/kernel$", P(None, "tensor", "fsdp")),
    (r"blocks/mlp_in/kernel$", P(None, "fsdp", "tensor")),
    (r"blocks/mlp_in/bias$", P(None, "tensor")),
    (r"blocks/mlp_out/kernel$", P(None, "tensor", "fsdp")),
    (r"blocks/adaLN/kernel$", P(None, None, "fsdp")),
    (r"output_layer/linear/kernel$", P("fsdp", None)),
    (r"", P()),
)


def make_mesh(sizes: Mapping[str, int], devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of `sizes[axis]` devices along each axis of AXES; one size may be -1: the rest.

    devices: those of the mesh, all of the job's by default.
    Raises UserError when the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    shape = [sizes[axis] for axis in AXES]
    known = int(np.prod([size for size in shape if size != -1]))
    if -1 in shape and len(devices) % known == 0:
        shape[shape.index(-1)] = len(devices) // known
    if int(np.prod(shape)) != len(devices):
        wanted = ", ".join(f"{axis} {sizes[axis]}" for axis in AXES)
        raise UserError(f"config.mesh ({wanted}) does not divide {len(devices)} devices")
    # Auto: under Explicit axes, the default of make_mesh, FSDP × tensor matmuls do not type-check.
    return jax.make_mesh(shape, AXES, axis_types=(AxisType.Auto,) * len(AXES), devices=devices)


def mesh_or_data_parallel(sizes: Mapping[str, int]) -> Mesh:
    """The mesh of `sizes` where the devices here allow it, else all of them along `data`.

    For programs that read a run which may have been trained elsewhere.
    """
    try:
        return make_mesh(sizes)
    except UserError:
        return make_mesh({"data": -1, "fsdp": 1, "tensor": 1})


def path_name(path) -> str:
    """A pytree path as text: `params/blocks/mlp_in/kernel`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def partition_spec(name: str, ndim: int) -> PartitionSpec:
    """The layout of the array at path `name`; scalars are whole everywhere."""
    if ndim == 0:
        return P()
    return next(spec for pattern, spec in RULES if re.search(pattern, name))


def tree_shardings(mesh: Mesh, tree):
    """The shardings of a pytree of arrays or of their shapes, by path.

    Raises UserError naming a parameter whose dimension its axis does not divide.
    """

    def sharding(path, leaf):
        name = path_name(path)
        spec = partition_spec(name, len(leaf.shape))
        for dim, axis in zip(leaf.shape, spec, strict=False):
            if axis is not None and dim % mesh.shape[axis]:
                raise UserError(
                    f"config.mesh.{axis} {mesh.shape[axis]} does not divide a dimension of {name}, "
                    f"{tuple(leaf.shape)}"
                )
        return NamedSharding(mesh, spec)

    return jax.tree_util.tree_map_with_path(sharding, tree)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows over data × fsdp; every further dimension whole."""
    return NamedSharding(mesh, P(BATCH_AXES))


def microbatch_sharding(mesh: Mesh) -> NamedSharding:
    """Of (microbatch, row, …): rows over data × fsdp, every device a part of each microbatch."""
    return NamedSharding(mesh, P(None, BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def batch_shards(mesh: Mesh) -> int:
    """Into how many parts the rows of a batch are split."""
    return int(np.prod([mesh.shape[axis] for axis in BATCH_AXES]))


def check_batch(mesh: Mesh, batch_size: int, accumulation: int = 1) -> None:
    """Raises UserError when rows do not divide evenly over microbatches and devices."""
    shards = batch_shards(mesh)
    if batch_size % (shards * accumulation):
        raise UserError(
            f"config.training.batch_size {batch_size} must be a multiple of {shards} devices "
            f"(data × fsdp) × config.training.accumulation {accumulation}"
        )


def place_rows(
    sharding: NamedSharding, shape: tuple[int, ...], rows: np.ndarray, local: np.ndarray
) -> jax.Array:
    """A global array of `shape` from the rows that this host holds.

    rows: ascending indices of the global rows, those of `host_rows`; local: (len(rows), …), their
    values.
    """

    def part(index: tuple[slice, ...]):
        start, stop, _ = index[0].indices(shape[0])
        first = np.searchsorted(rows, start)
        return local[first : first + stop - start]

    return jax.make_array_from_callback(shape, sharding, part)


def host_rows(sharding: NamedSharding, batch_size: int) -> np.ndarray:
    """Ascending indices of the rows of a batch that this host's devices hold."""
    index_map = sharding.addressable_devices_indices_map((batch_size,))
    parts = [np.arange(batch_size)[index] for index in index_map.values()]
    return np.unique(np.concatenate(parts))
