"""The least time that a compiled program takes on a chip whose figures are known.

- An instruction takes the longer of its FLOPs at the chip's peak and its bytes at the memory's
  rate; instructions of a device run one after the other, copies that are started and waited for
  later (a TPU's prefetches) beside them. All operands are counted as read from the
  main memory: of those that are still in a cache (50 MB on an H100) that is more than the least.
- A collective takes the bytes that each device sends, ring algorithms assumed, over the rate of the
  links that its group can use. A group that spans several slices (or GPU hosts) works in two
  stages: inside them over ICI (NVLink), between them over the data-center network (InfiniBand).
  It also reads its operands from the main memory and writes its results, beside the instructions.
- The step takes at least the longest of instructions, all memory traffic, inner and outer network,
  were they overlapped perfectly, and the sum of instructions and networks with no overlap.
  Latency, contention and launches are left out.
"""

import collections
import dataclasses
from collections.abc import Iterator

import numpy as np
from jax.sharding import Mesh

from launch.aot import cost
from launch.aot.chips import Chip
from launch.aot.collectives import Collective, collectives, is_collective
from launch.aot.hlo import Instruction, Module, parse
from launch.aot.topology import Topology


@dataclasses.dataclass(frozen=True)
class Traffic:
    """The traffic of one kind of collective along the same axes, per step.

    count: executions; then the bytes that each device sends over the network, and their seconds.
    """

    kind: str
    axes: tuple[str, ...]
    network: str
    count: int
    num_bytes: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Roofline:
    """The least times of one device for one execution of the program.

    flops: of matrix products and attention; hbm_bytes: moved to and from its memory; compute_s and
    hbm_s: what they take alone; instructions_s: all instructions, each bound by one of the two;
    num_unknown_loops: loops counted once since their length is not in the program;
    num_conditionals: each of them counted with all its branches;
    unknown_kernels: custom calls of which nobody says how many FLOPs they are.
    """

    flops: int
    hbm_bytes: int
    compute_s: float
    hbm_s: float
    instructions_s: float
    traffic: tuple[Traffic, ...]
    num_unknown_loops: int
    num_conditionals: int
    unknown_kernels: tuple[str, ...]

    def network_s(self, network: str) -> float:
        return sum(row.seconds for row in self.traffic if row.network == network)

    @property
    def networks(self) -> list[str]:
        return list(dict.fromkeys(row.network for row in self.traffic))

    @property
    def overlapped_s(self) -> float:
        return max([self.instructions_s, self.hbm_s, *map(self.network_s, self.networks)])

    @property
    def serial_s(self) -> float:
        return self.instructions_s + sum(map(self.network_s, self.networks))


class Links:
    """The links under the collectives of a mesh, whose devices go by partition number.

    block_N: the slice, or host of GPUs, that each is in.
    """

    def __init__(self, topology: Topology, mesh: Mesh):
        self._chip = topology.chip
        devices = list(mesh.devices.flat)
        self.block_N = np.array([topology.block(device) for device in devices])
        self._coordinates_NxC = np.array([device.coords for device in devices])
        self._extent_C = np.ptp(self._coordinates_NxC, axis=0) + 1

    def _inner_rate(self, group: np.ndarray) -> float:
        """The rate of a device's links [bytes/s]: a ring's in both directions, a line's in one."""
        chip = self._chip
        if not chip.wraps_at:
            return chip.port_rate
        inside = group[self.block_N[group] == self.block_N[group[0]]]
        span_C = np.ptp(self._coordinates_NxC[inside], axis=0) + 1
        ports = 0
        for span, extent in zip(span_C, self._extent_C, strict=True):
            if span > 1:
                ports += 2 if span == extent and extent % chip.wraps_at == 0 else 1
        return max(ports, 1) * chip.port_rate

    def traffic(self, collective: Collective, mesh_shape: dict[str, int]) -> list[Traffic]:
        """Over the inner network, the outer one, or both."""
        chip, size = self._chip, collective.groups.shape[1]
        num_blocks = max(len(np.unique(self.block_N[group])) for group in collective.groups)
        group = collective.groups[0]
        inner = size // num_blocks
        payload, kind = collective.num_bytes, collective.kind
        if kind == "collective-permute":
            inner_bytes, outer_bytes = (0, payload) if num_blocks > 1 else (payload, 0)
        elif kind == "all-gather":
            outer_bytes = payload * (num_blocks - 1)
            inner_bytes = payload * num_blocks * (inner - 1)
        elif kind in ("all-to-all", "ragged-all-to-all"):
            inner_bytes = payload * (inner - 1) / size
            outer_bytes = payload * (size - inner) / size
        else:
            passes = 2 if kind == "all-reduce" else 1
            inner_bytes = passes * payload * (inner - 1) / inner
            outer_bytes = passes * payload / inner * (num_blocks - 1) / num_blocks
        axes, times = collective.axes(mesh_shape), collective.times
        rows = (
            (chip.inner, inner_bytes, self._inner_rate(group)),
            (chip.outer, outer_bytes, chip.outer_rate),
        )
        return [
            Traffic(kind, axes, network, times, times * sent, times * sent / rate)
            for network, sent, rate in rows
            if sent
        ]


def _add_up(rows: list[Traffic]) -> tuple[Traffic, ...]:
    """One row for each kind, axes and network, the longest first."""
    groups = collections.defaultdict(list)
    for row in rows:
        groups[row.kind, row.axes, row.network].append(row)
    total = [
        Traffic(
            *key,
            count=sum(row.count for row in group),
            num_bytes=sum(row.num_bytes for row in group),
            seconds=sum(row.seconds for row in group),
        )
        for key, group in groups.items()
    ]
    return tuple(sorted(total, key=lambda row: -row.seconds))


def _unknown(module: Module) -> tuple[int, int, tuple[str, ...]]:
    loops, conditionals, kernels = 0, 0, set()
    for computation, instruction, _ in module.executed():
        if instruction.opcode == "while":
            loops += module.trip_count(computation, instruction) is None
        conditionals += instruction.opcode == "conditional"
        kernel = cost.unknown_kernel(computation, instruction)
        if kernel:
            kernels.add(kernel)
    return loops, conditionals, tuple(sorted(kernels))


@dataclasses.dataclass(frozen=True)
class Work:
    """All executions of an instruction: FLOPs, bytes of main memory, and the longer of their times.

    runs_beside: a collective or a copy that other instructions need not wait for.
    """

    instruction: Instruction
    times: int
    flops: int
    num_bytes: int
    seconds: float
    runs_beside: bool


def work(module: Module, chip: Chip) -> Iterator[Work]:
    """The work of each instruction that is executed."""
    # TPUs number their scratchpads from 1; on GPUs all spaces are parts of the main memory.
    traffic = cost.Traffic(module, lambda shape: chip.platform != "tpu" or shape.space == 0)
    for computation, instruction, times in module.executed():
        opcode = instruction.opcode
        flops = times * cost.flops(module, computation, instruction)
        num_bytes = times * traffic.of(computation, instruction)
        seconds = max(flops / chip.flops, num_bytes / chip.hbm_rate)
        runs_beside = is_collective(opcode) or opcode in cost.PREFETCHES
        yield Work(instruction, times, flops, num_bytes, seconds, runs_beside)


def analyse(program: str, topology: Topology, mesh: Mesh) -> Roofline:
    """program: the text of the compiled program."""
    module, chip = parse(program), topology.chip
    done = list(work(module, chip))
    flops, hbm_bytes = sum(one.flops for one in done), sum(one.num_bytes for one in done)
    links, shape = Links(topology, mesh), dict(mesh.shape)
    rows = [
        row
        for collective in collectives(module, mesh.size, links.block_N)
        for row in links.traffic(collective, shape)
    ]
    num_unknown_loops, num_conditionals, unknown_kernels = _unknown(module)
    return Roofline(
        flops=flops,
        hbm_bytes=hbm_bytes,
        compute_s=flops / chip.flops,
        hbm_s=hbm_bytes / chip.hbm_rate,
        instructions_s=sum(one.seconds for one in done if not one.runs_beside),
        traffic=_add_up(rows),
        num_unknown_loops=num_unknown_loops,
        num_conditionals=num_conditionals,
        unknown_kernels=unknown_kernels,
    )
