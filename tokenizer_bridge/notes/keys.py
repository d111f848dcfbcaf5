"""The key of a piece, by the profiles of Krumhansl and Kessler (Psychological Review 89, 1982)."""

from dataclasses import dataclass

import numpy as np

from tokenizer_bridge.notes.note_list import Notes

NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
MODES = ("major", "minor")

# How well each of the 12 tones fits a key, from its tonic upwards, as listeners rated it.
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Key:
    """A key, and how clear it is: the correlation of its profile with the piece, at most 1."""

    tonic: str
    mode: str
    clarity: float


def find_key(notes: Notes) -> Key | None:
    """The key whose profile correlates best with the time that each pitch class sounds.

    None where there is no telling: without notes, or with all pitch classes equally long.
    """
    histogram = np.bincount(notes.pitch_N % 12, notes.end_N - notes.start_N, minlength=12)
    if np.ptp(histogram) <= _ROUNDING * histogram.max():
        return None
    profiles_24x12 = [np.roll(profile, k) for profile in (_MAJOR, _MINOR) for k in range(12)]
    clarity_24 = np.array([np.corrcoef(histogram, profile)[0, 1] for profile in profiles_24x12])
    best = int(clarity_24.argmax())
    return Key(NAMES[best % 12], MODES[best // 12], float(clarity_24[best]))
