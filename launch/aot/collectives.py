"""The collectives of a compiled program: kind, devices, bytes, and along which mesh axes they run.

A device's partition number is its position in `mesh.devices.flat`, so that a group of partitions
tells by its coordinates which axes it spans.
"""

import dataclasses
import math
import re

import numpy as np

from launch.aot.hlo import Computation, Instruction, Module

KINDS = (
    "all-gather all-reduce reduce-scatter all-to-all ragged-all-to-all "
    "collective-permute collective-broadcast"
).split()

_IOTA = r"\[([\d,]+)\](?:T\(([\d,]+)\))?"
_IOTA_GROUPS = re.compile(rf"replica_groups=\[([\d,]+)\]<={_IOTA}")
_MESH_GROUPS = re.compile(
    rf"replica_groups=mesh\[([^\]]*)\](?:, device_ids=\({_IOTA}\))? \{{([^}}]*)\}}"
)
_LISTED_GROUPS = re.compile(r"replica_groups=\{((?:\{[\d,]*\},?)*)\}")
_MEGASCALE = re.compile(r'_xla_megascale_transfer_type="(\w+)"')
_PAIRS = re.compile(r"source_target_pairs=\{((?:\{\d+,\d+\},?)*)\}")


@dataclasses.dataclass(frozen=True)
class Collective:
    """A collective as it is executed `times` a step.

    num_bytes: of the operands, on each device. groups: (groups, devices of a group), partition
    numbers; of a permutation the pairs (source, target). op_name: where in the program it arises.
    """

    kind: str
    num_bytes: int
    groups: np.ndarray
    times: int
    op_name: str

    def axes(self, mesh_shape: dict[str, int]) -> tuple[str, ...]:
        """The mesh axes along which devices of a group differ."""
        coordinates = np.stack(np.unravel_index(self.groups, tuple(mesh_shape.values())))
        differs = (coordinates != coordinates[:, :, :1]).any(axis=(1, 2))
        return tuple(axis for axis, along in zip(mesh_shape, differs, strict=True) if along)


def _ints(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _iota(dims: str, permutation: str | None) -> np.ndarray:
    """`[2,4]T(1,0)`: 0, 1, 2, … in that shape, transposed."""
    numbers = np.arange(math.prod(_ints(dims))).reshape(_ints(dims))
    return numbers.transpose(_ints(permutation)) if permutation else numbers


def _mesh_groups(axes: str, ids: np.ndarray | None, along: str) -> np.ndarray:
    """Groups along some axes of a mesh that XLA names; 'x':(2)4 is the part of size 4 after 2."""
    wanted = {name: _ints(part) for name, part in re.findall(r"'([^']+)'(:\(\d+\)\d+)?", along)}
    dims, is_along = [], []
    for name, text in re.findall(r"'([^']+)'=(\d+)", axes):
        size = int(text)
        before, part = wanted[name] or (1, size) if name in wanted else (1, 1)
        dims += [before, part, size // (before * part)]
        is_along += [False, True, False]
    numbers = np.arange(math.prod(dims)) if ids is None else ids
    order = np.argsort(is_along, kind="stable")
    group = math.prod(dim for dim, along in zip(dims, is_along, strict=True) if along)
    return numbers.reshape(dims).transpose(order).reshape(-1, group)


def parse_groups(attributes: str, num_partitions: int) -> np.ndarray:
    """(groups, devices of a group) partition numbers, from an instruction's attributes.

    Raises ValueError for groups in a form unknown here.
    """
    if found := _PAIRS.search(attributes):
        return np.array(_ints(found[1])).reshape(-1, 2)
    if found := _IOTA_GROUPS.search(attributes):
        return _iota(found[2], found[3]).reshape(_ints(found[1]))
    if found := _MESH_GROUPS.search(attributes):
        ids = _iota(found[2], found[3]) if found[2] else None
        return _mesh_groups(found[1], ids, found[4])
    if found := _LISTED_GROUPS.search(attributes):
        groups = [_ints(group) for group in re.findall(r"\{([\d,]*)\}", found[1])]
        return np.array(groups or [range(num_partitions)])
    raise ValueError(f"cannot read the groups of a collective: {attributes[:200]}")


def _collective(
    computation: Computation, instruction: Instruction, kind: str, times: int, num_partitions: int
) -> Collective:
    shapes = computation.operand_shapes(instruction)
    return Collective(
        kind=kind,
        num_bytes=sum(shape.num_bytes for operand in shapes for shape in operand),
        groups=parse_groups(instruction.attributes, num_partitions),
        times=times,
        op_name=instruction.op_name,
    )


def is_collective(opcode: str) -> bool:
    """True for the two halves of an asynchronous one, too."""
    return opcode.removesuffix("-start").removesuffix("-done") in KINDS


def _across_slices(slice_N: np.ndarray) -> np.ndarray:
    """Groups of the devices that stand at the same place in their slices."""
    return np.stack([np.flatnonzero(slice_N == number) for number in np.unique(slice_N)], axis=1)


def collectives(
    module: Module, num_partitions: int, slice_N: np.ndarray | None = None
) -> list[Collective]:
    """All that a step executes between more than one device, each once with how often it runs.

    slice_N: which TPU slice a partition is in; None: all in one.
    """
    found, seen = [], set()
    for computation, instruction, times in module.executed():
        parts = [(computation, instruction)]
        if instruction.opcode == "fusion":
            parts = module.inside(instruction)
        for inner, part in parts:
            kind = part.opcode.removesuffix("-start")
            # Between slices TPUs exchange through their hosts, which do the rest of it.
            if kind == "send" and (between := _MEGASCALE.search(part.attributes)):
                payload = inner[part.operands[0]].shapes
                num_bytes = sum(shape.num_bytes for shape in payload)
                kind = between[1].lower().replace("_", "-")
                kind = kind if kind in KINDS else "collective-permute"
                groups = _across_slices(slice_N)
                found.append(Collective(kind, num_bytes, groups, times, part.op_name))
            if kind not in KINDS or part.opcode == "send":
                continue
            # TPUs spread an asynchronous collective over the fusions that run meanwhile; all of
            # them hold it.
            channel = re.search(r"channel_id=(\d+)", part.attributes)
            if instruction.opcode == "fusion" and channel:
                if channel[1] in seen:
                    continue
                seen.add(channel[1])
            # TPUs fuse the two halves of a reduce-scatter: the sum, and the slice of it.
            if kind == "all-reduce" and "all-reduce-scatter" in inner.name:
                kind = "reduce-scatter"
            found.append(_collective(inner, part, kind, times, num_partitions))
    return [collective for collective in found if collective.groups.shape[1] > 1]
