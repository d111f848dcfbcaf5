"""The device mesh and what lives where on it.

Axes: `data` and `fsdp` split the batch; `fsdp` also splits parameters; `tensor` splits the heads
and the hidden width inside a block, and the positions between blocks. What is split how is said
here, by path, and nowhere else.

What moves: a block gathers its weights over `fsdp` (in the compute dtype, forward, and again
backward where model.remat does not keep them) and scatters their gradients (fp32) over it;
gradients are summed over `data`; over `tensor`, positions are gathered before and scattered after
attention and after the MLP. Only `data` should cross slow links, so slices are laid along it unless
config.mesh.dcn says otherwise.
"""

import functools
import re
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from sedd_jax.errors import UserError
from sedd_jax.parallel.axes import AXES
from sedd_jax.parallel.backend import all_devices

BATCH_AXES = ("data", "fsdp")
SLICES_ALONG_DATA = {"data": -1, "fsdp": 1, "tensor": 1}

P = PartitionSpec
# The first rule whose pattern is found in a path wins. It serves parameters, and by the same
# path ends the optimizer's moments and the EMA. The leading None of blocks is the stack over N.
# Activations are (batch, position, …), named by what they are; see sedd_jax/network/transformer.py.
RULES: tuple[tuple[str, PartitionSpec], ...] = (
    (r"vocab_embed/embedding$", P(None, "fsdp")),
    (r"blocks/attn_qkv/kernel$", P(None, "fsdp", None, "tensor")),
    (r"blocks/attn_out/kernel$", P(None, "tensor", "fsdp")),
    (r"blocks/mlp_in/kernel$", P(None, "fsdp", "tensor")),
    (r"blocks/mlp_in/bias$", P(None, "tensor")),
    (r"blocks/mlp_out/kernel$", P(None, "tensor", "fsdp")),
    (r"blocks/adaLN/kernel$", P(None, None, "fsdp")),
    (r"output_layer/linear/kernel$", P("fsdp", None)),
    (r"condition/", P()),  # small, and of any number of rows
    (r"activations/(residual|logits)$", P(BATCH_AXES, "tensor")),
    (r"activations/block_input$", P(BATCH_AXES)),
    (r"activations/qkv$", P(BATCH_AXES, None, None, "tensor")),
    (r"activations/heads$", P(BATCH_AXES, None, "tensor")),
    (r"activations/hidden$", P(BATCH_AXES, None, "tensor")),
    (r"", P()),
)


def make_mesh(sizes: Mapping, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh that a config asks for.

    sizes: of AXES inside a slice, and under "dcn" the number of slices along each (all along
    `data` by default); an axis of the mesh is their product. In each group one size may be -1:
    whatever is left. Slices are those of TPUs; GPUs and CPUs are one slice, in the order of their
    hosts, `tensor` innermost.
    devices: those of the mesh, all of the job's by default.
    Raises UserError when the sizes do not multiply to the number of devices or slices, or there is
    no device.
    """
    devices = all_devices() if devices is None else devices
    num_slices = len({_slice_index(device) for device in devices})
    shape = _fill("mesh", sizes, len(devices) // num_slices, "devices of a slice")
    dcn_shape = _fill("mesh.dcn", sizes.get("dcn", SLICES_ALONG_DATA), num_slices, "slices")
    if num_slices > 1:
        make = functools.partial(mesh_utils.create_hybrid_device_mesh, shape, dcn_shape)
    elif devices[0].platform == "tpu":
        make = functools.partial(mesh_utils.create_device_mesh, shape)
    else:
        return _auto_mesh(np.asarray(devices, dtype=object).reshape(shape))
    return _auto_mesh(make(devices, allow_split_physical_axes=True))


def _auto_mesh(devices: np.ndarray) -> Mesh:
    # Auto: under Explicit axes, the default of make_mesh, FSDP × tensor matmuls do not type-check.
    return Mesh(devices, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _slice_index(device: jax.Device) -> int:
    return getattr(device, "slice_index", 0) if device.platform == "tpu" else 0


def _fill(key: str, sizes: Mapping[str, int], total: int, what: str) -> list[int]:
    """The sizes of AXES, the one that is -1 filled in so that they multiply to `total`."""
    shape = [sizes[axis] for axis in AXES]
    known = int(np.prod([size for size in shape if size != -1]))
    if -1 in shape and total % known == 0:
        shape[shape.index(-1)] = total // known
    if int(np.prod(shape)) != total:
        wanted = ", ".join(f"{axis} {sizes[axis]}" for axis in AXES)
        raise UserError(f"config.{key} ({wanted}) does not fit the {total} {what}")
    return shape


def mesh_or_data_parallel(sizes: Mapping[str, int]) -> Mesh:
    """The mesh of `sizes` where the devices here allow it, else all of them along `data`.

    For programs that read a run which may have been trained elsewhere.
    """
    try:
        return make_mesh(sizes)
    except UserError:
        return make_mesh(SLICES_ALONG_DATA)


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


def activation_spec(name: str) -> PartitionSpec:
    """The layout of the activations that a rule names."""
    return partition_spec(f"activations/{name}", ndim=2)


def lay_out(mesh: Mesh | None, x: jax.Array, name: str, gradient: str | None = None) -> jax.Array:
    """x laid out by the rule `activations/<name>`, its cotangent by that of `gradient` or the same.

    Nothing where there is no mesh, or one device.
    """
    if mesh is None or mesh.size == 1:
        return x
    forward, backward = (
        NamedSharding(mesh, activation_spec(key)) for key in (name, gradient or name)
    )
    return reshard(x, forward, backward)


def weight_layout(mesh: Mesh | None, name: str) -> tuple[NamedSharding, NamedSharding] | None:
    """(as kept, as used) layouts of the weight at path `name`: used ones are whole along `fsdp`.

    Of a block's weight, they are those inside the block: without the stack's axis. None where there
    is no mesh, or one device.
    """
    if mesh is None or mesh.size == 1:
        return None
    spec = partition_spec(name, ndim=2)
    if name.startswith("blocks/"):
        spec = P(*spec[1:])
    used = P(*(None if axis == "fsdp" else axis for axis in spec))
    return NamedSharding(mesh, spec), NamedSharding(mesh, used)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def reshard(x: jax.Array, forward: NamedSharding, backward: NamedSharding) -> jax.Array:
    """x, laid out as `forward`; its cotangent is laid out as `backward`.

    A plain constraint would give the cotangent the layout of x: where x is gathered, its partial
    sums would then be summed whole on every device, not scattered.
    """
    del backward
    return jax.lax.with_sharding_constraint(x, forward)


def _reshard_forward(x, forward, backward):
    return reshard(x, forward, backward), None


def _reshard_backward(forward, backward, residuals, cotangent):
    del forward, residuals
    return (jax.lax.with_sharding_constraint(cotangent, backward),)


reshard.defvjp(_reshard_forward, _reshard_backward)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The layout of a batch: rows over data × fsdp, every further dimension whole."""
    return NamedSharding(mesh, P(BATCH_AXES))


def microbatch_sharding(mesh: Mesh) -> NamedSharding:
    """The layout of (microbatch, row, …): rows over data × fsdp, each device in each microbatch."""
    return NamedSharding(mesh, P(None, BATCH_AXES))


def replicated(mesh: Mesh) -> NamedSharding:
    return NamedSharding(mesh, P())


def batch_shards(mesh: Mesh) -> int:
    """The number of parts that the rows of a batch are split into."""
    return int(np.prod([mesh.shape[axis] for axis in BATCH_AXES]))


def divisible(mesh: Mesh, num_rows: int) -> int:
    """The smallest number of rows from `num_rows` on that the mesh divides evenly."""
    shards = batch_shards(mesh)
    return -(-num_rows // shards) * shards


def check_batch(mesh: Mesh, batch_size: int, accumulation: int = 1) -> None:
    """Raises UserError when rows do not divide evenly over microbatches and devices."""
    shards = batch_shards(mesh)
    if batch_size % (shards * accumulation):
        raise UserError(
            f"config.training.batch_size {batch_size} must be a multiple of {shards} devices "
            f"(data × fsdp) × config.training.accumulation {accumulation}"
        )


def check_model(mesh: Mesh, num_heads: int, length: int) -> None:
    """Raises UserError when `tensor` divides heads or positions unevenly."""
    tensor = mesh.shape["tensor"]
    for what, size in (("config.model.num_heads", num_heads), ("the length", length)):
        if size % tensor:
            raise UserError(f"{what} {size} must be a multiple of {tensor}, the mesh's tensor axis")


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
