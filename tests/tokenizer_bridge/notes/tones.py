"""Music made of harmonic tones, whose notes are known."""

from collections.abc import Sequence

import numpy as np

from tokenizer_bridge.notes.note_list import Notes

RATE = 24_000


def melody(pitches: Sequence[int], each_s: float = 0.3, start_s: float = 0.1) -> Notes:
    """Notes one after the other."""
    starts = start_s + each_s * np.arange(len(pitches))
    return Notes.of(zip(starts, starts + each_s, pitches, strict=True))


def sound(notes: Notes, seconds: float | None = None) -> np.ndarray:
    """(T,) at RATE: twelve harmonics a note; an attack of 5 ms, then a decay."""
    seconds = seconds or float(notes.end_N.max()) + 0.3
    audio_T = np.zeros(round(seconds * RATE))
    for start, end, pitch in zip(notes.start_N, notes.end_N, notes.pitch_N, strict=True):
        first, count = round(start * RATE), round((end - start) * RATE)
        t = np.arange(count) / RATE
        hertz = 440 * 2 ** ((pitch - 69) / 12)
        tone = sum(np.sin(2 * np.pi * k * hertz * t) / k for k in range(1, 13))
        envelope = (
            np.minimum(t / 0.005, 1) * np.exp(-3 * t) * np.minimum((end - start - t) / 0.01, 1)
        )
        audio_T[first : first + count] += 0.2 * tone * envelope
    return audio_T.astype(np.float32)
