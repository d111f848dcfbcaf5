"""The highest voice of a piece, and its shape: what stays when it is transposed or played slower.

N notes of a piece, M of its highest voice.
"""

import numpy as np

from tokenizer_bridge.notes.note_list import Notes

TOGETHER_S = 0.05  # notes that begin within it begin together
_WIDEST = 12  # semitones; wider intervals are counted as an octave
_SAME = 2**0.5  # a duration up to so many times another is counted as the same
NUM_SHAPES = (2 * _WIDEST + 1) * 3


def highest_voice(notes: Notes) -> tuple[np.ndarray, np.ndarray]:
    """Onsets (M,) in seconds and pitches (M,): of notes that begin together the highest one."""
    onsets: list[float] = []
    pitches: list[int] = []
    for start, pitch in zip(notes.start_N.tolist(), notes.pitch_N.tolist(), strict=True):
        if onsets and start - onsets[-1] < TOGETHER_S:
            pitches[-1] = max(pitches[-1], pitch)
        else:
            onsets.append(start)
            pitches.append(pitch)
    return np.array(onsets, float), np.array(pitches, np.int64)


def shapes(notes: Notes) -> np.ndarray:
    """(max(0, M − 2),) int64 below NUM_SHAPES: interval and rough rhythm of every step of a melody.

    Number i stands for the interval from note i to note i + 1, in semitones up to an octave, and
    for whether the next note comes sooner, later or as soon as this one did: transposed and at
    another tempo, a melody has the same numbers.
    """
    onset_M, pitch_M = highest_voice(notes)
    interval = np.clip(np.diff(pitch_M)[:-1], -_WIDEST, _WIDEST) + _WIDEST
    apart = np.diff(onset_M)
    ratio = apart[1:] / apart[:-1]
    rhythm = 1 + (ratio > _SAME).astype(np.int64) - (ratio < 1 / _SAME)
    return 3 * interval + rhythm


def in_notes(num_shapes: int) -> int:
    """The number of notes in a stretch of so many shapes."""
    return num_shapes + 1 if num_shapes else 0
