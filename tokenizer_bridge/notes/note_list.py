"""Notes as arrays: when each begins and ends, and its pitch. N notes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LOWEST, HIGHEST = 21, 108  # MIDI pitches of a piano's keys, A0 and C8


@dataclass(frozen=True, eq=False)
class Notes:
    """Notes in the order of their beginnings, low before high where these are equal.

    start_N, end_N: seconds, float64. pitch_N: MIDI pitches, int64; 60 is middle C.
    """

    start_N: np.ndarray
    end_N: np.ndarray
    pitch_N: np.ndarray

    @classmethod
    def of(cls, notes: Iterable[Sequence[float]]) -> "Notes":
        """From (start, end, pitch, …) of each note, in any order."""
        rows = sorted((float(note[0]), float(note[1]), int(note[2])) for note in notes)
        rows.sort(key=lambda row: (row[0], row[2]))
        start, end, pitch = zip(*rows, strict=True) if rows else ((), (), ())
        return cls(np.array(start, float), np.array(end, float), np.array(pitch, np.int64))

    def __len__(self) -> int:
        return len(self.pitch_N)

    def between(self, start_s: float, end_s: float) -> "Notes":
        """Notes that begin in [start_s, end_s), cut off there; times count from start_s."""
        within_N = (self.start_N >= start_s) & (self.start_N < end_s)
        return Notes(
            self.start_N[within_N] - start_s,
            np.minimum(self.end_N[within_N], end_s) - start_s,
            self.pitch_N[within_N],
        )
