"""Shares of right answers and their intervals."""

import numpy as np
import pytest

from tokenizer_bridge.judging.accuracy import share_by_chance, share_right


def test_wilsons_interval_of_independent_pieces():
    # Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263.
    share = share_right([True] * 81 + [False] * 182, [None] * 263)
    assert share.value == pytest.approx(81 / 263)
    assert (share.low, share.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def test_all_right_is_no_proof_that_all_others_are():
    share = share_right([True] * 10, [None] * 10)
    assert share.high == 1.0 and share.low == pytest.approx(0.7225, abs=1e-4)
    of_two = share_right([True] * 10, ["a", "b"] * 5)  # as if they were two pieces
    assert of_two.low == pytest.approx(share_right([True] * 2, [None] * 2).low)


def test_pieces_of_one_artist_tell_less():
    right = [True] * 20 + [False] * 20
    alike = share_right(right, [f"{i // 5}" for i in range(40)])
    unlike = share_right(right, [None] * 40)
    assert alike.value == unlike.value
    assert alike.high - alike.low > 1.5 * (unlike.high - unlike.low)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(400):  # 12 artists of 5 pieces, whose talents differ
        talents = rng.beta(2, 1, 12)
        right = rng.random((12, 5)) < talents[:, None]
        share = share_right(right.ravel(), np.repeat(np.arange(12), 5).astype(str).tolist())
        covered.append(share.low <= 2 / 3 <= share.high)
    assert 0.91 <= np.mean(covered) <= 0.99


def test_chance_is_the_share_over_all_pairs():
    share = share_by_chance(["a", "b", "b", None], ["a", "a", "b", "c"])
    assert share.value == pytest.approx((2 + 1 + 1 + 0) / 16)
    assert share.low < share.value < share.high


def test_wishes_for_every_name_alike_make_chance_certain():
    share = share_by_chance(["a", "a", "b"], ["a", "b", "c", "d"])
    assert (share.value, share.low, share.high) == pytest.approx((0.25, 0.25, 0.25))


def test_without_pieces_there_is_no_share():
    with pytest.raises(ValueError, match="no pieces"):
        share_right([], [])
    with pytest.raises(ValueError, match="no pieces"):
        share_by_chance([], ["a"])
