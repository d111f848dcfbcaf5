"""The instructions of a compiled program, gathered by the line of the project that they come from.

XLA notes with every instruction the stack of calls under which JAX traced it. A fusion is one
instruction, and comes from where its last operation does.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

from launch.aot.hlo import Instruction
from launch.aot.roofline import Work

PROJECT = Path(__file__).parents[2]
_FRAME = re.compile(r"stack_frame_id=(\d+)")
_NUMBERS = re.compile(r"(\.(\d+|\w*double_buffer\w*|remat\d*|clone))+$")
_SHORTEST = 0.005  # share of the time below which a line is not shown by itself


@dataclasses.dataclass(frozen=True)
class Part:
    """Instructions of one name (without its number) and one result; sums over all executions."""

    name: str
    result: str
    times: int
    flops: int
    num_bytes: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of code in one direction, with its parts, the longest first.

    place: `FILE:LINE` of the project, and the line of another file that called it; direction:
    forward, backward, again (computed anew for the backward pass), or "" outside of a gradient.
    """

    place: str
    direction: str
    parts: tuple[Part, ...]

    @property
    def num_bytes(self) -> int:
        return sum(part.num_bytes for part in self.parts)

    @property
    def flops(self) -> int:
        return sum(part.flops for part in self.parts)

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)


class Places:
    """The places in the project's files that a program's text tells of its instructions."""

    def __init__(self, text: str):
        files = {number: fields for number, fields in _table(text, "FileNames")}
        locations = dict(_table(text, "FileLocations"))
        self._frames = {}  # number → (the frame that called it, 0 for none; file; line)
        for number, fields in _table(text, "StackFrames"):
            location = _numbers(locations[_numbers(fields)["file_location_id"]])
            file = Path(files[location["file_name_id"]].strip('"'))
            # XLA numbers frames from 1, and writes one more than the number of the caller.
            caller = _numbers(fields)["parent_frame_id"] - 1
            self._frames[number] = caller, file, location["line"]

    def of(self, instruction: Instruction) -> str:
        """`sedd_jax/network/linear.py:59 < transformer.py:126`, or that no line is known."""
        found = _FRAME.search(instruction.attributes)
        number, inner = int(found[1]) if found else 0, None
        while number:
            number, file, line = self._frames[number]
            if not file.is_relative_to(PROJECT):
                continue
            if inner is None:
                inner, text = file, f"{file.relative_to(PROJECT)}:{line}"
            elif file != inner:
                return f"{text} < {file.name}:{line}"
        return "no line" if inner is None else text


def _table(text: str, name: str) -> list[tuple[int, str]]:
    """The rows (number, rest) of one of the tables at the head of a program's text."""
    found = re.search(rf"^{name}\n((?:\d+ .*\n)+)", text, re.MULTILINE)
    rows = found[1].splitlines() if found else []
    return [(int(number), rest) for number, rest in (row.split(" ", 1) for row in rows)]


def _numbers(fields: str) -> dict[str, int]:
    return {key: int(number) for key, number in re.findall(r"(\w+)=(\d+)", fields)}


def _direction(instruction: Instruction) -> str:
    if "rematted_computation" in instruction.op_name:
        return "again"
    if "transpose(" in instruction.op_name:
        return "backward"
    return "forward" if "jvp(" in instruction.op_name else ""


def _result(instruction: Instruction) -> str:
    shapes = [f"{s.dtype}[{','.join(map(str, s.dims))}]" for s in instruction.shapes if s.size]
    largest = sorted(zip(instruction.shapes, shapes, strict=False), key=lambda p: -p[0].num_bytes)
    return ", ".join(text for _, text in largest[:2]) + (", …" if len(shapes) > 2 else "")


def lines(text: str, work: Iterable[Work]) -> tuple[Line, ...]:
    """The lines that instructions with work come from, the longest first.

    text: of the compiled program; work: of its instructions.
    """
    places = Places(text)
    groups = collections.defaultdict(lambda: collections.defaultdict(list))
    for done in work:
        if done.flops or done.num_bytes:
            line = places.of(done.instruction), _direction(done.instruction)
            name = _NUMBERS.sub("", done.instruction.name)
            groups[line][name, _result(done.instruction)].append(done)
    found = [
        Line(*line, tuple(sorted(map(_part, parts, parts.values()), key=lambda p: -p.seconds)))
        for line, parts in groups.items()
    ]
    return tuple(sorted(found, key=lambda line: -line.seconds))


def _part(key: tuple[str, str], works: list[Work]) -> Part:
    return Part(
        *key,
        times=sum(work.times for work in works),
        flops=sum(work.flops for work in works),
        num_bytes=sum(work.num_bytes for work in works),
        seconds=sum(work.seconds for work in works),
    )


def table(found: tuple[Line, ...]) -> str:
    """The lines as text: what each costs, then its three longest parts; short ones in one row."""
    total = sum(line.seconds for line in found)
    shown = [line for line in found if line.seconds >= _SHORTEST * total]
    rows = [f"{'ms':>9}{'GB':>9}{'TFLOP':>8}{'times':>7}  lines of code, the longest first"]
    for line in shown:
        rows.append(_row(line, "", ", ".join(filter(None, (line.place, line.direction)))))
        for part in line.parts[:3]:
            rows.append(_row(part, f"{part.times}", f"    {part.name} → {part.result}"))
    rest = [line for line in found if line.seconds < _SHORTEST * total]
    if rest:
        others = Line("", "", tuple(part for line in rest for part in line.parts))
        rows.append(_row(others, "", f"{len(rest)} other lines"))
    return "\n".join(rows)


def _row(cost: Line | Part, times: str, text: str) -> str:
    tflop = f"{cost.flops / 1e12:.3f}" if cost.flops else ""
    milliseconds, gigabytes = cost.seconds * 1e3, cost.num_bytes / 1e9
    return f"{milliseconds:>9.2f}{gigabytes:>9.3f}{tflop:>8}{times:>7}  {text}"
