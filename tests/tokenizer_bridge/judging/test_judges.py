"""Judges by what they hear: made notes and vectors of known categories."""

import numpy as np
import pytest

from tokenizer_bridge.judging import judges
from tokenizer_bridge.judging.pieces import Piece
from tokenizer_bridge.token_dataset.errors import UserError

MAJOR, MINOR = (0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)


def tune(rng, tonic=0, scale=MAJOR, gap_s=0.25, seconds=10.0):
    """Notes (N, 3) of a scale, its triad more often, one after the other."""
    start_N = np.arange(0, seconds, gap_s)
    start_N += 0.01 * rng.standard_normal(len(start_N))
    degrees = rng.choice(7, len(start_N), p=np.array([4, 1, 3, 1, 3, 1, 1]) / 14)
    pitch_N = 60 + tonic + np.array(scale)[degrees]
    return np.stack([start_N, start_N + 0.9 * gap_s, pitch_N], axis=1)


def pieces(names, category, num_artists=8):
    return [
        Piece(f"{i}", np.zeros(1, np.uint16), f"{i % num_artists}", (f"{category}---{name}",))
        for i, name in enumerate(names)
    ]


def accuracy(judge, heard, names):
    return np.mean([a == b for a, b in zip(judge.judge(heard), names, strict=True)])


def test_key_and_mode_are_those_of_the_notes():
    rng = np.random.default_rng(0)
    tonics = {"C": 0, "Eb": 3, "A": 9}
    names = list(tonics) * 10
    heard = {"notes": [tune(rng, tonics[name]) for name in names]}
    judge = judges.make_judge("key", pieces(names, "key"), heard)
    assert judge.names == ("A", "C", "Eb") and accuracy(judge, heard, names) > 0.9
    modes = ["major", "minor"] * 10
    heard = {"notes": [tune(rng, 2, MAJOR if m == "major" else MINOR) for m in modes]}
    judge = judges.make_judge("mode", pieces(modes, "mode"), heard)
    assert judge.names == ("major", "minor") and accuracy(judge, heard, modes) > 0.9
    assert judge.judge({"notes": [np.zeros((0, 3))]}) == [None]  # silence has no key


def test_a_mode_that_profiles_do_not_know_is_not_judged():
    rng, modes = np.random.default_rng(0), ["major", "dorian", "minor"] * 8
    judge = judges.make_judge("mode", pieces(modes, "mode"), {"notes": [tune(rng)] * 24})
    assert judge.names == ("major", "minor")


def test_tempo_is_learnt_from_the_times_of_notes_alone():
    rng = np.random.default_rng(1)
    gaps = {"fast": 0.2, "medium": 0.3, "slow": 0.42}
    names = list(gaps) * 16

    def heard():
        return {"notes": [tune(rng, i % 12, gap_s=gaps[name]) for i, name in enumerate(names)]}

    judge = judges.make_judge("tempo", pieces(names, "tempo"), heard())
    assert accuracy(judge, heard(), names) > 0.95
    assert judge.judge({"notes": [np.zeros((0, 3))]})[0] in gaps  # silence is no error


def test_other_categories_are_learnt_from_musicnns_vectors():
    rng, names = np.random.default_rng(2), ["flute", "harp"] * 16

    def heard():
        shift = {"flute": 1.0, "harp": -1.0}
        return {"musicnn": [rng.standard_normal((3, 200)) + shift[name] for name in names]}

    judge = judges.make_judge("instrument", pieces(names, "instrument"), heard())
    assert accuracy(judge, heard(), names) == 1.0


@pytest.mark.parametrize(("category", "names", "artists", "message"), [
    ("instrument", ["flute"] * 20 + ["harp"] * 7, 8, "fewer than two of its names have 8"),
    ("instrument", ["flute", "harp"] * 8, 1, "all real pieces are of one artist"),
    ("key", ["H", "X"] * 8, 8, "its judge knows none of H, X"),
])  # fmt: skip
def test_a_category_that_cannot_be_judged_says_why(category, names, artists, message):
    heard = {"musicnn": [np.zeros((1, 200))] * 27, "notes": [np.zeros((0, 3))] * 27}
    with pytest.raises(UserError, match=message):
        judges.make_judge(category, pieces(names, category, artists), heard)
