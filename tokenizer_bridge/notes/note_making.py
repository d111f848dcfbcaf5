"""Notes out of what the network hears, as section 2.3 of arXiv 2203.09893 has it.

F frames, P pitches. Peaks of the onsets begin notes, which last as long as the note's activation
stays up; what is left of the activations then makes notes whose onset was not heard.
"""

import numpy as np

from tokenizer_bridge.notes.network import FRAME_S, Activations
from tokenizer_bridge.notes.note_list import LOWEST, Notes

# The paper's are 0.5, 0.3 and 11. These were chosen on 40 pieces of the training split of rendered
# scores, 24.5 s each: F1 of the notes 0.909 instead of 0.801, mostly for ringing notes that are no
# longer begun twice.
ONSET_THRESHOLD = 0.7
NOTE_THRESHOLD = 0.4
MIN_FRAMES = 8  # 93 ms; what is not longer is no note
TOLERANCE = 11  # frames for which a note's activation may stay below the threshold and come back


def make_notes(
    heard: Activations,
    onset_threshold: float = ONSET_THRESHOLD,
    note_threshold: float = NOTE_THRESHOLD,
    min_frames: int = MIN_FRAMES,
) -> Notes:
    """The notes of a piece."""
    left_FxP = heard.notes_FxP.copy()
    notes: list[tuple[float, float, int]] = []

    def add(start: int, end: int, pitch: int) -> None:
        # Neighbours sound along with a note whose pitch lies between two keys.
        left_FxP[start:end, max(0, pitch - 1) : pitch + 2] = 0
        if end - start > min_frames:
            notes.append((start * FRAME_S, end * FRAME_S, pitch + LOWEST))

    # Backwards, so that a note ends where the next of its pitch begins.
    for start, pitch in _peaks(heard.onsets_FxP, onset_threshold)[::-1]:
        end = start + 1 + _reach(left_FxP[start + 1 :, pitch], note_threshold)
        if end - start > min_frames:
            add(start, end, pitch)
    order = np.argsort(-left_FxP, axis=None, kind="stable")
    order = order[: int((left_FxP > note_threshold).sum())]
    for middle, pitch in zip(*np.unravel_index(order, left_FxP.shape), strict=True):
        if left_FxP[middle, pitch] > note_threshold:
            end = middle + _reach(left_FxP[middle:, pitch], note_threshold)
            start = middle + 1 - _reach(left_FxP[middle::-1, pitch], note_threshold)
            add(start, end, pitch)
    return Notes.of(notes)


def _peaks(onsets_FxP: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """(frame, pitch) of local maxima over time that reach the threshold, in order of time."""
    padded = np.pad(onsets_FxP, ((1, 1), (0, 0)))
    is_peak_FxP = (onsets_FxP > padded[:-2]) & (onsets_FxP >= padded[2:])
    frames, pitches = np.nonzero(is_peak_FxP & (onsets_FxP >= threshold))
    return list(zip(frames.tolist(), pitches.tolist(), strict=True))


def _reach(activation_F: np.ndarray, threshold: float) -> int:
    """Frames up to the last one at the threshold, before TOLERANCE in a row are below it."""
    above = np.flatnonzero(activation_F >= threshold)
    gaps = np.diff(above, prepend=-1)
    if len(broken := np.flatnonzero(gaps > TOLERANCE)):
        above = above[: broken[0]]
    return int(above[-1]) + 1 if len(above) else 0
