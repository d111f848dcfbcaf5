"""Goodput: the share of a run's wall time, since its very first start, that ended up in the model.

A run lives several lives: it is killed, preempted, restarted, perhaps on another machine. A line is
appended to RUN/goodput.jsonl when a life starts, at every report and before every checkpoint, so
that whatever kills a life leaves at worst its last line cut. A line holds the step reached, totals
of its life so far (seconds in steps, seconds in other kinds of work) and the time.

Time in steps that a later life computed again is `lost`. From the last line of a life to the
beginning of the next it is `down`. After a line that says `finished` the clock stands still.
"""

import contextlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GOODPUT_FILE = "goodput.jsonl"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Moment:
    """A point in time by two clocks, in seconds.

    wall: the calendar's, comparable between machines, but it may be set; boot: since the machine
    boot_id started, which nothing sets.
    """

    wall: float
    boot: float
    boot_id: str

    @classmethod
    def now(cls) -> "Moment":
        boot_id = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
        return cls(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), boot_id)

    def since(self, earlier: "Moment") -> float:
        """Seconds since then; negative only between machines, or starts, whose calendars differ."""
        if self.boot_id and self.boot_id == earlier.boot_id and self.boot >= earlier.boot:
            return self.boot - earlier.boot
        return self.wall - earlier.wall


@dataclass
class _Line:
    """One line of the file; productive and spent are totals of the life, in seconds."""

    life: int
    from_step: int
    step: int
    productive: float
    spent: dict[str, float]
    time: Moment
    finished: bool = False

    @classmethod
    def parse(cls, text: str) -> "_Line | None":
        """The line that the text holds; None for one cut short by a kill."""
        try:
            values = json.loads(text)
            return cls(**values | {"time": Moment(**values["time"])})
        except (ValueError, TypeError, KeyError):
            return None


@dataclass
class _History:
    """The sums over the lines so far, in seconds."""

    last: _Line | None = None
    alive: float = 0.0  # within lives
    down: float = 0.0  # between them; signed gaps, so that a wrong calendar cancels when corrected
    computed: float = 0.0  # in steps, of the lives that are over
    kept: float = 0.0  # of those, what the present life builds on
    spent: Counter = field(default_factory=Counter)  # of the lives that are over
    marks: dict[int, float] = field(default_factory=dict)  # step → seconds that led to it

    def add(self, line: _Line) -> None:
        last = self.last
        if last is not None and last.life == line.life:
            self.alive += line.time.since(last.time)
        else:
            if last is not None:
                self._end(last)
                self.down += 0.0 if last.finished else line.time.since(last.time)
            steps = sorted(self.marks)
            values = [self.marks[step] for step in steps]
            self.kept = float(np.interp(line.from_step, steps, values)) if steps else 0.0
            self.marks = {s: v for s, v in self.marks.items() if s < line.from_step}
            self.marks[line.from_step] = self.kept
        self.marks[line.step] = self.kept + line.productive
        self.last = line

    def _end(self, line: _Line) -> None:
        self.computed += line.productive
        self.spent.update(line.spent)

    def summary(self) -> dict[str, float]:
        """Seconds by kind, in all `total`."""
        line = self.last
        productive = self.kept + line.productive
        spent = {
            kind: self.spent[kind] + line.spent.get(kind, 0.0)
            for kind in dict.fromkeys((*self.spent, *line.spent))
        }
        down = max(self.down, 0.0)
        lost = self.computed - self.kept
        other = self.alive - productive - lost - sum(spent.values())
        return {
            "total": self.alive + down,
            "productive": productive,
            **spent,
            "lost": lost,
            "down": down,
            "other": max(other, 0.0),
        }


class Goodput:
    """The account of one life, from step `from_step` on, on top of those before.

    began: when this life began; what has passed since is entered as `start`. now: the clock.
    active: False neither reads nor writes the file, for all processes of a run but one.
    """

    def __init__(
        self,
        workdir: str | Path,
        from_step: int,
        began: Moment,
        now: Callable[[], Moment] = Moment.now,
        *,
        active: bool = True,
    ):
        self._path = Path(workdir) / GOODPUT_FILE if active else None
        self._now = now
        self._history = _History()
        ends_whole = True
        if self._path is not None and self._path.exists():
            text = self._path.read_text(encoding="utf-8", errors="replace")
            ends_whole = not text or text.endswith("\n")
            for line in filter(None, map(_Line.parse, text.splitlines())):
                self._history.add(line)
        last = self._history.last
        self._from_step, self._life = from_step, last.life + 1 if last else 0
        self._spent: Counter = Counter()
        self._append("" if ends_whole else "\n", self._line(from_step, 0.0, began))
        self._spent["start"] = now().since(began)

    @contextlib.contextmanager
    def spent(self, kind: str) -> Iterator[None]:
        """A context whose duration is entered as `kind`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._spent[kind] += time.perf_counter() - start

    def record(self, step: int, productive: float, *, finished: bool = False) -> None:
        """Writes down that this life has reached `step`, after `productive` seconds in steps."""
        self._append("", self._line(step, productive, self._now(), finished))

    def metrics(self) -> dict[str, float]:
        """Goodput, in [0, 1], and wall_seconds/KIND, as of the last record."""
        seconds = self._history.summary()
        goodput = seconds["productive"] / seconds["total"] if seconds["total"] > 0 else 0.0
        return {"goodput": goodput} | {f"wall_seconds/{kind}": s for kind, s in seconds.items()}

    def _line(self, step: int, productive: float, moment: Moment, finished: bool = False) -> _Line:
        spent = {kind: round(seconds, 3) for kind, seconds in self._spent.items()}
        return _Line(
            self._life, self._from_step, step, round(productive, 3), spent, moment, finished
        )

    def _append(self, prefix: str, line: _Line) -> None:
        self._history.add(line)
        if self._path is not None:
            values: dict[str, Any] = asdict(line)
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(prefix + json.dumps(values) + "\n")
