"""The highest voice and its shape."""

import numpy as np

from tests.tokenizer_bridge.notes.tones import melody
from tokenizer_bridge.notes.melody import NUM_SHAPES, highest_voice, in_notes, shapes
from tokenizer_bridge.notes.note_list import Notes

TUNE = [(0.0, 0.4, 60), (0.4, 0.6, 64), (0.6, 0.8, 62), (0.8, 1.6, 67), (1.6, 2.0, 60)]


def test_the_highest_of_notes_that_begin_together():
    chords = Notes.of([(0.00, 1, 60), (0.02, 1, 67), (0.04, 1, 64), (0.5, 1, 59), (0.51, 1, 55)])
    onsets, pitches = highest_voice(chords)
    assert onsets.tolist() == [0.0, 0.5] and pitches.tolist() == [67, 59]


def test_a_transposed_tune_at_another_tempo_has_the_same_shape():
    other = Notes.of([(1 + 1.3 * start, 1 + 1.3 * end, pitch - 5) for start, end, pitch in TUNE])
    ours = shapes(Notes.of(TUNE))
    assert len(ours) == 3 and in_notes(len(ours)) == 4
    np.testing.assert_array_equal(ours, shapes(other))


def test_intervals_and_rhythms_are_told_apart():
    even = shapes(melody([60, 62, 64, 65]))
    assert not np.array_equal(even, shapes(melody([60, 62, 63, 65])))
    dotted = Notes.of([(0, 0.4, 60), (0.4, 0.6, 62), (0.6, 1.0, 64), (1.0, 1.2, 65)])
    assert not np.array_equal(even, shapes(dotted))
    assert len(np.unique(shapes(melody([60, 100, 60, 20, 90, 30])))) == 2  # an octave at most
    assert 0 <= shapes(melody([20, 100, 20, 100])).min() <= NUM_SHAPES - 1


def test_short_pieces_have_no_shape():
    for length in range(3):
        assert len(shapes(melody([60] * length))) == 0
    assert in_notes(0) == 0
