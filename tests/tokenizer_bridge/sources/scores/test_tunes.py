"""Versions of one tune, found by their intervals."""

from dataclasses import replace

from tests.tokenizer_bridge.sources.scores.toy_scores import tune
from tokenizer_bridge.sources.scores.score import Note
from tokenizer_bridge.sources.scores.tunes import tune_names


def version(score, id, step=0, stretch=1.0, notes=slice(None)):
    """The same melody, elsewhere, in another rhythm, or a part of it."""
    moved = [Note(n.onset * stretch, n.duration * stretch, n.pitch + step) for n in score.notes]
    return replace(score, id=id, notes=tuple(moved[notes]))


def test_key_and_tempo_make_no_other_tune():
    scores = [tune(0), tune(1), version(tune(0), "b", step=5), version(tune(1), "c", stretch=2)]
    assert tune_names(scores) == ["book/0.abc", "book/1.abc", "book/0.abc", "book/1.abc"]


def test_half_of_a_tune_is_a_version_and_a_phrase_is_not():
    scores = [tune(0), version(tune(0), "half", notes=slice(32))]
    assert len(set(tune_names(scores))) == 1
    borrowed = replace(tune(1), notes=tune(0).notes[:12] + tune(1).notes[12:])
    assert len(set(tune_names([tune(0), borrowed]))) == 2


def test_a_version_of_a_version_is_the_same_tune():
    first, last = tune(0), tune(1)
    middle = replace(tune(2), id="m", notes=first.notes[:32] + last.notes[32:])
    assert tune_names([first, last, middle]) == ["book/0.abc"] * 3
