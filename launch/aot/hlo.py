"""Reads the text of a compiled XLA program: computations, instructions, shapes and trip counts.

Only what counting needs. Written against the text that XLA prints for jaxlib 0.10.2; the grammar
is that of `HloModule::ToString` (github.com/openxla/xla, xla/hlo/parser).
"""

import dataclasses
import functools
import re
from collections.abc import Iterator

_SHAPE = re.compile(r"([a-z]\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_NAME = re.compile(r"%([\w.\-]+)")
_TRIP_COUNT = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_OP_NAME = re.compile(r'op_name="((?:[^"\\]|\\.)*)"')
_BITS = re.compile(r"\d+")


@dataclasses.dataclass(frozen=True)
class Shape:
    """An array. space: the memory it lives in, 0 the device's main memory."""

    dtype: str
    dims: tuple[int, ...]
    space: int = 0

    @functools.cached_property
    def size(self) -> int:
        size = 1
        for dim in self.dims:
            size *= dim
        return size

    @functools.cached_property
    def num_bytes(self) -> int:
        if self.dtype in ("token", "opaque"):
            return 0
        bits = 8 if self.dtype == "pred" else int(_BITS.search(self.dtype)[0])
        return (self.size * bits + 7) // 8


@dataclasses.dataclass(frozen=True, eq=False)
class Instruction:
    """One line. shapes: of its result, a tuple's flattened; attributes: the text after operands."""

    name: str
    opcode: str
    shapes: tuple[Shape, ...]
    operands: tuple[str, ...]
    literal: str  # between the parentheses: a parameter's number, a constant's value
    attributes: str

    def called(self, key: str) -> str | None:
        """The computation that attribute `key` names."""
        found = re.search(rf"\b{key}=%?([\w.\-]+)", self.attributes)
        return found[1] if found else None

    @property
    def branches(self) -> list[str]:
        """The computations that a conditional chooses from."""
        if found := _BRANCHES.search(self.attributes):
            return _NAME.findall(found[1])
        branches = (self.called("true_computation"), self.called("false_computation"))
        return [branch for branch in branches if branch]

    @property
    def op_name(self) -> str:
        """The place in the traced program that it comes from."""
        found = _OP_NAME.search(self.attributes)
        return found[1] if found else ""


class Computation:
    """Instructions by name, in order; `root` is the result."""

    def __init__(self, name: str, instructions: list[Instruction], root: Instruction):
        self.name = name
        self.instructions = instructions
        self.root = root
        self._by_name = {instruction.name: instruction for instruction in instructions}

    def __getitem__(self, name: str) -> Instruction:
        return self._by_name[name]

    def operand_shapes(self, instruction: Instruction) -> list[tuple[Shape, ...]]:
        return [self[name].shapes for name in instruction.operands]

    @functools.cached_property
    def users(self) -> dict[str, list[tuple[Instruction, int]]]:
        """The users of every instruction: (user, number of the operand) of all that read it."""
        users: dict[str, list[tuple[Instruction, int]]] = {}
        for instruction in self.instructions:
            for number, name in enumerate(instruction.operands):
                users.setdefault(name, []).append((instruction, number))
        return users

    @functools.cached_property
    def parameters(self) -> dict[int, Instruction]:
        return {int(i.literal): i for i in self.instructions if i.opcode == "parameter"}


@dataclasses.dataclass(frozen=True)
class Module:
    computations: dict[str, Computation]
    entry: str

    def executed(self) -> Iterator[tuple[Computation, Instruction, int]]:
        """(computation, instruction, times) of all that runs, the loops' bodies included.

        Fusions are one instruction. A loop of unknown length counts once; every branch of a
        conditional counts, though only one of them runs.
        """
        yield from self._executed(self.entry, 1)

    def _executed(self, name: str, times: int):
        computation = self.computations[name]
        for instruction in computation.instructions:
            yield computation, instruction, times
            if instruction.opcode == "while":
                trips = self.trip_count(computation, instruction) or 1
                yield from self._executed(instruction.called("body"), times * trips)
            elif instruction.opcode == "call":
                yield from self._executed(instruction.called("to_apply"), times)
            elif instruction.opcode == "async-start":
                yield from self._executed(instruction.called("calls"), times)
            elif instruction.opcode == "conditional":
                for branch in instruction.branches:
                    yield from self._executed(branch, times)

    def trip_count(self, computation: Computation, loop: Instruction) -> int | None:
        """The count that XLA notes or, on TPUs, that of a condition `index < constant`."""
        if found := _TRIP_COUNT.search(loop.attributes):
            return int(found[1])
        condition = self.computations[loop.called("condition")]
        compare, operands = condition.root, [condition[name] for name in condition.root.operands]
        if compare.opcode == "fusion":
            fused = self.fused(compare)
            compare, outside = fused.root, operands
            operands = [fused[name] for name in compare.operands]
            operands = [outside[int(x.literal)] if x.opcode == "parameter" else x for x in operands]
        if compare.opcode != "compare" or "direction=LT" not in compare.attributes:
            return None
        index, limit = operands
        if index.opcode != "get-tuple-element" or limit.opcode != "constant":
            return None
        start = computation[loop.operands[0]]
        number = int(re.search(r"index=(\d+)", index.attributes)[1])
        if start.opcode == "tuple":
            start = computation[start.operands[number]]
        while start.opcode == "copy":
            start = computation[start.operands[0]]
        first = int(start.literal) if start.opcode == "constant" else 0
        return -(-(int(limit.literal) - first) // self._step(loop, number))

    def _step(self, loop: Instruction, number: int) -> int:
        """By how much a loop raises the element of its state that it counts with; 1 if not told.

        XLA unrolls some loops once, those that multiply while they exchange: these count in twos.
        """
        body = self.computations[loop.called("body")]
        if body.root.opcode != "tuple":
            return 1
        raised = body[body.root.operands[number]]
        if raised.opcode != "add":
            return 1
        terms = [body[name] for name in raised.operands]
        return next((int(term.literal) for term in terms if term.opcode == "constant"), 1)

    def fused(self, fusion: Instruction) -> Computation:
        return self.computations[fusion.called("calls")]

    def inside(self, fusion: Instruction) -> Iterator[tuple[Computation, Instruction]]:
        """The instructions of a fusion, those of fusions in it included."""
        computation = self.fused(fusion)
        for instruction in computation.instructions:
            yield computation, instruction
            if instruction.opcode == "fusion":
                yield from self.inside(instruction)


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """The arrays in a type: `f32[2,3]{1,0:T(8,128)S(1)}`, or a tuple of such."""
    shapes = []
    for dtype, dims, layout in _SHAPE.findall(text):
        space = re.search(r"S\((\d+)\)", layout)
        sizes = tuple(int(dim) for dim in dims.split(",") if dim)
        shapes.append(Shape(dtype, sizes, int(space[1]) if space else 0))
    return tuple(shapes)


def _end(text: str, stop: str) -> int:
    """The first position of `stop` outside of all brackets; the text's length if there is none."""
    depth = 0
    for position, character in enumerate(text):
        if depth == 0 and character == stop:
            return position
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
    return len(text)


def _parse_instruction(name: str, text: str) -> Instruction:
    type_end = _end(text, " ") if text.startswith("(") else text.index(" ")
    opcode, rest = text[type_end + 1 :].split("(", 1)
    operands_end = _end(rest, ")")
    literal = rest[:operands_end]
    return Instruction(
        name=name,
        opcode=opcode,
        shapes=parse_shapes(text[:type_end]),
        operands=tuple(_NAME.findall(literal)),
        literal=literal,
        attributes=rest[operands_end + 1 :],
    )


def parse(text: str) -> Module:
    """Raises ValueError for a text that is no compiled program."""
    computations, entry = {}, None
    name, lines = None, []
    for line in text.splitlines():
        if name is None:
            if found := _COMPUTATION.match(line):
                name, lines = found[2], []
                entry = name if found[1] else entry
        elif line == "}" or line.startswith("}, execution_thread"):
            computations[name] = _parse_computation(name, lines)
            name = None
        elif _INSTRUCTION.match(line):
            lines.append(line)
        else:  # the metadata of a Pallas kernel holds line ends
            lines[-1] += line
    if entry is None:
        raise ValueError("the text holds no ENTRY computation")
    return Module(computations, entry)


def _parse_computation(name: str, lines: list[str]) -> Computation:
    instructions, root = [], None
    for line in lines:
        is_root, *parts = _INSTRUCTION.match(line).groups()
        instructions.append(_parse_instruction(*parts))
        root = instructions[-1] if is_root else root
    return Computation(name, instructions, root or instructions[-1])
