"""Measures of pieces of which they are known, and shares of pieces within a range."""

import numpy as np
import pytest

from tests.tokenizer_bridge.notes.tones import melody
from tokenizer_bridge.notes.measures import MEASURES, measure_piece, medians, ranges, within
from tokenizer_bridge.notes.note_list import Notes


def test_a_scale_in_even_notes():
    row = measure_piece(melody([60, 62, 64, 65, 67, 69, 71, 72], each_s=0.25), seconds=4)
    assert (row["key"], row["mode"]) == ("C", "major")
    assert row["notes_per_s"] == 2
    assert row["note_length_s"] == pytest.approx(0.25)
    assert row["voices"] == pytest.approx(1)
    assert row["interval"] == pytest.approx(12 / 7)
    assert row["steps"] == 1


def test_voices_are_counted_while_any_sounds():
    chord = [(0, 1, 60), (0, 1, 64), (0, 0.5, 67)]
    assert measure_piece(Notes.of(chord), 10)["voices"] == pytest.approx(2.5)


@pytest.mark.parametrize("bpm", [80, 100, 150])
def test_the_beat_of_a_tune_that_is_played_a_little_unevenly(bpm):
    rng, beat = np.random.default_rng(0), 60 / bpm
    rhythm = np.cumsum([0, *([1, 0.5, 0.5, 2, 1, 1] * 5)]) * beat
    starts = rhythm + rng.normal(0, 0.005, len(rhythm))
    notes = Notes.of((start, start + 0.1, 60) for start in starts)
    row = measure_piece(notes, 30)
    assert row["tempo_bpm"] == pytest.approx(bpm, rel=0.03)
    random = Notes.of((start, start + 0.1, 60) for start in rng.uniform(0, 20, 31))
    assert row["pulse"] > 0.6 > measure_piece(random, 30)["pulse"]


def test_of_beats_that_fit_alike_the_usual_one_is_taken():
    assert measure_piece(melody([60] * 40, each_s=0.3), 12)["tempo_bpm"] == pytest.approx(100)


@pytest.mark.parametrize("notes", [[], [(0, 1, 60)], [(0, 1, 60), (0.01, 1, 64), (1, 2, 62)]])
def test_few_notes_have_no_melody_and_no_beat(notes):
    row = measure_piece(Notes.of(notes), 10)
    assert row.keys() >= MEASURES.keys()
    assert row["interval"] is row["pulse"] is row["tempo_bpm"] is row["steps"] is None


def test_one_repeated_note_has_no_steps():
    row = measure_piece(melody([60] * 8), 3)
    assert row["interval"] == 0 and row["steps"] is None


def row(value, **others):
    return dict.fromkeys(MEASURES, value) | others


def test_the_middle_of_real_pieces_is_the_range():
    real = [row(i, steps=None) for i in range(11)]
    found = ranges(real)
    assert found["interval"] == (1, 9) and "steps" not in found
    shares = within(real, found)
    assert shares["interval"] == pytest.approx(9 / 11) and "steps" not in shares
    some = [row(5), row(5, pulse=10), row(5, pulse=None), row(0)]
    assert within(some, found)["interval"] == 3 / 4
    assert within(some, found)["pulse"] == within(some, found)["all"] == 1 / 4
    assert medians(real)["interval"] == 5 and medians(real)["steps"] is None
