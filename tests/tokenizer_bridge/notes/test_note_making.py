"""Notes out of activations that were written by hand."""

import numpy as np
import pytest

from tokenizer_bridge.notes.network import FRAME_S, NUM_PITCHES, Activations
from tokenizer_bridge.notes.note_making import MIN_FRAMES, TOLERANCE, make_notes

MIDDLE_C = 60 - 21  # column


def heard(*notes, onsets=(), frames=100):
    """notes: (first frame, frame after the last, column, activation); onsets: (frame, column)."""
    notes_FxP = np.zeros((frames, NUM_PITCHES), np.float32)
    onsets_FxP = np.zeros_like(notes_FxP)
    for start, end, column, value in notes:
        notes_FxP[start:end, column] = value
    for frame, column in onsets:
        onsets_FxP[frame, column] = 0.9
    return Activations(notes_FxP, onsets_FxP)


def in_frames(notes):
    return [
        (round(start / FRAME_S), round(end / FRAME_S), int(pitch))
        for start, end, pitch in zip(notes.start_N, notes.end_N, notes.pitch_N, strict=True)
    ]


def test_a_note_lasts_while_it_is_heard():
    made = make_notes(heard((20, 50, MIDDLE_C, 0.8), onsets=[(20, MIDDLE_C)]))
    assert in_frames(made) == [(20, 50, 60)]


def test_a_second_onset_begins_a_second_note():
    made = make_notes(heard((20, 60, MIDDLE_C, 0.8), onsets=[(20, MIDDLE_C), (40, MIDDLE_C)]))
    assert in_frames(made) == [(20, 40, 60), (40, 60, 60)]


def test_a_note_without_an_onset_is_found_and_a_weak_one_is_not():
    made = make_notes(heard((20, 50, MIDDLE_C, 0.8), (20, 50, MIDDLE_C + 7, 0.2)))
    assert in_frames(made) == [(20, 50, 60)]


def test_what_sounds_beside_a_note_is_part_of_it():
    both = heard((20, 50, MIDDLE_C, 0.8), (20, 50, MIDDLE_C + 1, 0.6), onsets=[(20, MIDDLE_C)])
    assert in_frames(make_notes(both)) == [(20, 50, 60)]


@pytest.mark.parametrize(("gap", "ends"), [(TOLERANCE - 1, 60), (TOLERANCE, 40)])
def test_a_short_gap_does_not_end_a_note(gap, ends):
    made = make_notes(
        heard((20, 40, MIDDLE_C, 0.8), (40 + gap, 60, MIDDLE_C, 0.8), onsets=[(20, MIDDLE_C)])
    )
    assert in_frames(made)[0] == (20, ends, 60)


@pytest.mark.parametrize("onsets", [[], [(20, MIDDLE_C)]])
def test_shorter_notes_are_none(onsets):
    short = heard((20, 20 + MIN_FRAMES, MIDDLE_C, 0.8), onsets=onsets)
    long_enough = heard((20, 21 + MIN_FRAMES, MIDDLE_C, 0.8), onsets=onsets)
    assert (len(make_notes(short)), len(make_notes(long_enough))) == (0, 1)


def test_nothing_heard_is_no_notes():
    assert len(make_notes(heard())) == 0 == len(make_notes(heard(frames=0)))
