"""Counts of notes that a score and a transcription share."""

import pytest

from tokenizer_bridge.notes.agreement import Agreement, agree
from tokenizer_bridge.notes.note_list import Notes

SCORE = Notes.of([(0.0, 0.5, 60), (0.5, 1.0, 62), (0.5, 1.0, 55), (1.0, 1.5, 60)])


def test_a_score_agrees_with_itself():
    assert agree(SCORE, SCORE) == Agreement(4, 4, 4)
    assert agree(SCORE, SCORE).f1 == 1


def test_pitch_and_onset_must_agree_and_ends_need_not():
    heard = Notes.of([
        (0.04, 3.0, 60),  # found
        (0.5, 1.0, 63),  # another pitch
        (0.56, 1.0, 55),  # too late
        (0.96, 1.0, 60),  # found
        (2.0, 3.0, 40),  # not in the score
    ])  # fmt: skip
    counted = agree(SCORE, heard)
    assert counted == Agreement(2, 4, 5)
    assert (counted.precision, counted.recall) == (2 / 5, 2 / 4)
    assert counted.f1 == pytest.approx(2 * 0.4 * 0.5 / 0.9)


def test_a_note_is_in_one_pair_and_as_many_pairs_are_made_as_can_be():
    score = Notes.of([(0.00, 1, 60), (0.06, 1, 60)])
    assert agree(score, Notes.of([(0.03, 1, 60)])).found == 1
    assert agree(score, Notes.of([(0.04, 1, 60), (0.10, 1, 60)])).found == 2


def test_sums_and_nothing():
    nothing = Notes.of([])
    assert agree(SCORE, nothing) + agree(nothing, SCORE) == Agreement(0, 4, 4)
    empty = agree(nothing, nothing)
    assert (empty.precision, empty.recall, empty.f1) == (0, 0, 0)


def test_notes_between_two_moments_are_cut_there():
    inner = SCORE.between(0.5, 0.9)
    assert inner.start_N.tolist() == [0, 0] and inner.pitch_N.tolist() == [55, 62]
    assert inner.end_N.tolist() == pytest.approx([0.4, 0.4])


def test_a_missed_note_and_one_too_many_do_not_put_others_out_of_step():
    score = Notes.of([(0, 0.1, 60), (1, 1.1, 60), (2, 2.1, 60)])
    assert agree(score, Notes.of([(1, 1.1, 60), (2, 2.1, 60)])).found == 2
    assert agree(score, Notes.of([(0.5, 1, 60), (1, 1.1, 60), (2, 2.1, 60)])).found == 2
