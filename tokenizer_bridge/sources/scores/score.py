"""A score as plain notes: all that a performance needs to know of it."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Note:
    """onset, duration: quarter notes, from the beginning. pitch: MIDI. voice: 0 is the highest."""

    onset: float
    duration: float
    pitch: int
    voice: int = 0


@dataclass(frozen=True)
class Score:
    """One score, its repeats played out.

    id: the file it was read from, relative to music21's corpus. genre: such as "jig". metre: such
    as "6/8". tonic: pitch class, C = 0. mode: "major", "minor", "dorian" or "mixolydian".
    bar: quarter notes. pickup: quarter notes before the first full bar.
    """

    id: str
    title: str
    genre: str
    metre: str
    bar: float
    pickup: float
    tonic: int
    mode: str
    notes: tuple[Note, ...]

    @property
    def length(self) -> float:
        """Quarter notes up to the end of the last note."""
        return max(note.onset + note.duration for note in self.notes)

    def melody(self) -> list[Note]:
        """The highest voice, in order of time."""
        return sorted((n for n in self.notes if n.voice == 0), key=lambda note: note.onset)

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["notes"] = [[n.onset, n.duration, n.pitch, n.voice] for n in self.notes]
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Score":
        return cls(**{**value, "notes": tuple(Note(*cells) for cells in value["notes"])})
