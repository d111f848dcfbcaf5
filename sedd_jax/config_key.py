"""A key of a config: type, bounds and choices of its value, and whether runs may change it."""

import dataclasses
from typing import Any

MAX_INTEGER = 2**32 - 1  # what counters and seeds hold


@dataclasses.dataclass(frozen=True)
class Key:
    """A key.

    type: bool, int, float (an int is fine, too), str, or tuple: of texts.
    doc: what it is, in one line.
    low, high: bounds of a number, both included; None: there is none.
    choices: the values that a text, or each of several, can have; (): any.
    default_of_older_runs: what stands for it in configs saved before it existed; None: it always
      existed.
    resumable: whether a run may be resumed with another value, because that changes how long, how
      often or on what it runs, but not what it computes.
    fixed: whether it never may, because the weights are of this value.
    """

    type: type
    doc: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    default_of_older_runs: Any = None
    resumable: bool = False
    fixed: bool = False

    def fault(self, value: Any) -> str | None:
        """The fault of a value, to be read after the key and `is VALUE`; None for a good one."""
        # bool is a subclass of int, and an int is a fine float.
        if type(value) is not self.type and not (self.type is float and type(value) is int):
            return f"must be {self.type.__name__}"
        if self.type is tuple and not all(isinstance(part, str) for part in value):
            return "must be of texts"
        given = value if self.type is tuple else (value,)
        if self.choices and not set(given) <= set(self.choices):
            return f"can be {', '.join(self.choices)}"
        if self.type is float and not abs(value) < float("inf"):
            return "must be a finite number"
        if self.type in (int, float):
            if self.low is not None and value < self.low:
                return f"must be {self.bounds}"
            if self.high is not None and value > self.high:
                return f"must be {self.bounds}"
        if self.type is int and value > MAX_INTEGER:
            return "must be below 2**32"
        return None

    @property
    def bounds(self) -> str:
        """The bounds in words, "" where there are none."""
        if self.low is None:
            return "" if self.high is None else f"at most {self.high}"
        if self.high is None:
            return f"at least {self.low}"
        return f"between {self.low} and {self.high}"
