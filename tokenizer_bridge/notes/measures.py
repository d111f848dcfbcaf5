"""Measures of a piece's music, taken of its notes, and how many pieces measure as real ones do.

A measure that a piece has too few notes for is None; such a piece counts as outside every range.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tokenizer_bridge.notes.keys import find_key
from tokenizer_bridge.notes.melody import highest_voice
from tokenizer_bridge.notes.note_list import Notes

MEASURES = {
    "key_clarity": "correlation of the pitch classes with the profile of the best of 24 keys",
    "notes_per_s": "notes a second",
    "note_length_s": "median length of a note, seconds",
    "voices": "notes that sound at once, on average where any does",
    "interval": "mean interval of the highest voice, semitones up or down",
    "steps": "share of its moves that are of one or two semitones",
    "tempo_bpm": "beats a minute, as far as onsets tell (an octave off at times)",
    "pulse": "how strictly onsets recur at that beat: 1, all of them",
}
RANGE = (10, 90)  # per cent of the real pieces

_ONSET_STEP_S = 0.01
_ONSET_WIDTH_S = 0.025  # standard deviation by which onsets are blurred
_BEATS_S = (0.25, 1.5)  # 240 to 40 beats a minute
_USUAL_BEAT_S = 0.5
_FEW = 4  # notes, below which a piece has no melody and no beat


def measure_piece(notes: Notes, seconds: float) -> dict[str, Any]:
    """The MEASURES of a piece, its `key` and its `mode`; seconds: of its audio."""
    row: dict[str, Any] = dict.fromkeys(MEASURES)
    row |= {"key": None, "mode": None, "notes_per_s": len(notes) / seconds}
    if key := find_key(notes):
        row |= {"key": key.tonic, "mode": key.mode, "key_clarity": key.clarity}
    if len(notes):
        length_N = notes.end_N - notes.start_N
        row["note_length_s"] = float(np.median(length_N))
        row["voices"] = float(length_N.sum() / _sounding_s(notes))
    onset_M, pitch_M = highest_voice(notes)
    if len(onset_M) >= _FEW:
        interval = np.abs(np.diff(pitch_M))
        row["interval"] = float(interval.mean())
        if (interval > 0).any():
            row["steps"] = float((interval[interval > 0] <= 2).mean())
        row["tempo_bpm"], row["pulse"] = _beat(onset_M)
    return row


def ranges(real: Sequence[Mapping[str, Any]]) -> dict[str, tuple[float, float]]:
    """Measure → its 10th and 90th percentile over real pieces, those left out that have none."""
    found = {}
    for name in MEASURES:
        values = [row[name] for row in real if row[name] is not None]
        if values:
            low, high = np.percentile(values, RANGE)
            found[name] = float(low), float(high)
    return found


def within(
    rows: Sequence[Mapping[str, Any]], real: Mapping[str, tuple[float, float]]
) -> dict[str, float]:
    """Measure → the share of pieces inside its range; "all" → the share inside all of them."""
    inside = np.array(
        [
            [row[name] is not None and low <= row[name] <= high for row in rows]
            for name, (low, high) in real.items()
        ]
    )  # (measures, pieces)
    shares = dict(zip(real, inside.mean(axis=1).tolist(), strict=True))
    return shares | {"all": float(inside.all(axis=0).mean())}


def medians(rows: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Measure → its median over the pieces that have one; None if none has."""
    values = {name: [row[name] for row in rows if row[name] is not None] for name in MEASURES}
    return {name: float(np.median(v)) if v else None for name, v in values.items()}


def _sounding_s(notes: Notes) -> float:
    """Seconds in which at least one note sounds."""
    total, until = 0.0, 0.0
    for start, end in zip(notes.start_N.tolist(), notes.end_N.tolist(), strict=True):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _beat(onset_M: np.ndarray) -> tuple[float, float]:
    """Beats a minute, and the correlation of the onsets with themselves a beat later.

    The lag at which the blurred onsets correlate best, beats near 120 a minute before others
    (weights by a Gaussian over octaves of tempo).
    """
    place_M = np.round((onset_M - onset_M[0]) / _ONSET_STEP_S).astype(int)
    count_T = np.bincount(place_M).astype(float)
    reach = round(4 * _ONSET_WIDTH_S / _ONSET_STEP_S)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * _ONSET_STEP_S / _ONSET_WIDTH_S) ** 2)
    blurred_T = np.convolve(count_T, kernel)
    size = 2 * len(blurred_T)
    power = np.abs(np.fft.rfft(blurred_T, size)) ** 2
    correlation = np.fft.irfft(power, size)[: len(blurred_T)]
    lags = np.arange(round(_BEATS_S[0] / _ONSET_STEP_S), round(_BEATS_S[1] / _ONSET_STEP_S) + 1)
    lags = lags[lags < len(correlation)]
    if not len(lags):
        return 60 / _BEATS_S[0], 0.0
    # A piece of finite length has fewer pairs that lie farther apart.
    pairs = len(blurred_T) / (len(blurred_T) - lags)
    strength = correlation[lags] / correlation[0] * pairs
    weight = np.exp(-0.5 * np.log2(lags * _ONSET_STEP_S / _USUAL_BEAT_S) ** 2)
    best = int((strength * weight).argmax())
    return float(60 / (lags[best] * _ONSET_STEP_S)), float(min(1.0, strength[best]))
