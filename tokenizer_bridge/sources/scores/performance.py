"""The performance of a score: instrument, key, tempo, and the small unevenness of a player."""

from dataclasses import dataclass

import numpy as np

from tokenizer_bridge.sources.scores.score import Score
from tokenizer_bridge.sources.scores.synthesizer import Sounding


@dataclass(frozen=True)
class Instrument:
    """program: General MIDI, from 0. low, high: MIDI pitches that sound well. rings: notes are not
    damped before the next one. chorales: whether it plays several voices. release: timecents, as
    the synthesiser takes them."""

    name: str
    program: int
    low: int
    high: int
    rings: bool
    chorales: bool
    release: float = 0.0


INSTRUMENTS = (
    Instrument("piano", 0, 40, 88, False, True),
    Instrument("guitar", 24, 40, 83, False, True),
    Instrument("harp", 46, 43, 83, True, True, -3600.0),  # else a melody drowns in its own echo
    Instrument("flute", 73, 60, 93, False, False),
    Instrument("musicbox", 10, 60, 93, True, False),
    Instrument("marimba", 12, 48, 88, False, False),
)
# Genre -> notes a second of the highest voice, on average, slowest and fastest.
PACES = {
    "reel": (4.2, 7.0),
    "jig": (3.8, 6.2),
    "slipjig": (3.8, 6.2),
    "hornpipe": (4.0, 6.6),
    "strathspey": (3.2, 5.2),
    "clog": (3.6, 6.0),
    "chorale": (1.0, 1.8),
}
TEMPI = ("slow", "medium", "fast")  # thirds of the genre's range
KEYS = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
LEAD_S = 0.05  # before the first note
TAIL_S = 4.0  # after the last note ends, at most
MAX_S = 120.0
_JITTER_S = 0.006
_LONGEST_RING_S = 1.5


@dataclass(frozen=True)
class Performance:
    """A score on an instrument. transposition: semitones. pace: quarter notes a second.

    seconds: from the first note's beginning to the last one's end. tempo: one of TEMPI.
    """

    score: Score
    instrument: Instrument
    transposition: int
    pace: float
    tempo: str

    @property
    def seconds(self) -> float:
        return min(self.score.length / self.pace, MAX_S - LEAD_S - TAIL_S)

    @property
    def key(self) -> str:
        return KEYS[(self.score.tonic + self.transposition) % 12]

    def tags(self) -> list[str]:
        return [
            f"instrument---{self.instrument.name}",
            f"genre---{self.score.genre}",
            f"key---{self.key}",
            f"mode---{self.score.mode}",
            f"metre---{self.score.metre}",
            f"tempo---{self.tempo}",
        ]


def transpositions(score: Score, instrument: Instrument) -> list[int]:
    """Semitones by which a score may be moved so that all its notes lie in the range.

    At most an octave's worth, nearest to the middle of the range: no key is favoured, and no piece
    lies at the edge without need. Empty if the score is too wide.
    """
    pitches = [note.pitch for note in score.notes]
    allowed = range(instrument.low - min(pitches), instrument.high - max(pitches) + 1)
    middle = (instrument.low + instrument.high) / 2 - (min(pitches) + max(pitches)) / 2
    return sorted(sorted(allowed, key=lambda step: (abs(step - middle), step))[:12])


def perform(
    score: Score, instrument: Instrument, key: int, pace: float, tempo: str
) -> Performance | None:
    """The score in one of its transpositions. key: a number that chooses it. None if too wide.

    pace: notes of the highest voice a second.
    """
    steps = transpositions(score, instrument)
    if not steps:
        return None
    melody = score.melody()
    quarters_a_note = sum(note.duration for note in melody) / len(melody)
    # Quarters are what the tempo is made of; notes a second, what a listener calls fast.
    return Performance(score, instrument, steps[key % len(steps)], pace * quarters_a_note, tempo)


def soundings(performance: Performance, rng: np.random.Generator) -> list[Sounding]:
    """Notes as a player plays them: a few milliseconds early or late, louder on the beat."""
    score, played = performance.score, []
    loudness = rng.uniform(72, 92)
    legato = rng.uniform(0.88, 0.99)
    for note in sorted(score.notes, key=lambda note: (note.onset, note.voice)):
        start = note.onset / performance.pace
        end = (note.onset + note.duration * legato) / performance.pace
        if performance.instrument.rings:
            end = max(end, min(start + _LONGEST_RING_S, start + 2 * (end - start)))
        start += float(np.clip(rng.normal(0, _JITTER_S), -2 * _JITTER_S, 2 * _JITTER_S))
        velocity = loudness + rng.normal(0, 4) + _accent(score, note.onset)
        if note.voice in (1, 2):  # inner voices
            velocity -= 8
        if start >= performance.seconds:
            continue
        played.append(
            Sounding(
                LEAD_S + max(start, 0.0),
                LEAD_S + min(end, performance.seconds),
                note.pitch + performance.transposition,
                int(np.clip(round(velocity), 30, 120)),
            )
        )
    return played


def _accent(score: Score, onset: float) -> float:
    """The velocity that a note's place in the bar adds."""
    place = (onset - score.pickup) % score.bar
    if place < 1e-3 or score.bar - place < 1e-3:
        return 8.0
    beat = score.bar / 2 if score.metre not in ("3/4", "9/8", "3/2") else score.bar / 3
    remainder = place % beat
    return 4.0 if remainder < 1e-3 or beat - remainder < 1e-3 else 0.0
