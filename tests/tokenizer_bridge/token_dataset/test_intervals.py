"""Intervals of means per token: by hand, and how often they cover the truth."""

import numpy as np
import pytest
from scipy import stats

from tokenizer_bridge.token_dataset.intervals import (
    Estimate,
    artist_numbers,
    mean_by_artist,
    per_token,
)

TRIALS = 2000


def test_by_hand():
    # Artists of 20 and 10 tokens cost 30 + 50 and 10: mean 3 a token, residuals 20 and −20.
    found = per_token(np.array([30.0, 50, 10]), np.array([12, 8, 10]), np.array([4, 4, 9]))
    assert found.mean == pytest.approx(3) and found.num_artists == 2
    error = np.sqrt(400 / (1 - 2 / 3) + 400 / (1 - 1 / 3)) / 30
    student = stats.t.ppf(0.975, 1 / (4 / 9 + 1 / 9) - 1)
    assert found.half_width == pytest.approx(student * error)


def test_equal_artists_give_the_interval_of_a_mean():
    cost_N = np.array([30.0, 50.0, 43.0])
    found = per_token(cost_N, np.full(3, 10), np.arange(3))
    assert found.half_width == pytest.approx(
        stats.t.ppf(0.975, 2) * np.std(cost_N / 10, ddof=1) / np.sqrt(3)
    )
    assert found.as_json()["interval_95_by_artist"][0] == pytest.approx(4.1 - found.half_width)
    again = Estimate.from_json(found.as_json())
    assert again.half_width == pytest.approx(found.half_width)
    # Of unequal lengths at one price, there is no doubt; nor do tracks without tokens count.
    assert per_token([20, 6, 0], [10, 3, 0], [0, 1, 2]) == Estimate(2.0, 0.0, 2)


def test_one_artist_has_no_interval():
    assert per_token([20.0, 7.0], [10, 3], [5, 5]) == Estimate(27 / 13, None, 1)
    assert Estimate(2.0, None, 1).as_json()["interval_95_by_artist"] is None
    assert Estimate.from_json(Estimate(2.0, None, 1).as_json()) == Estimate(2.0, None, 1)
    # Nor has one with nearly all the tokens, beside others.
    assert per_token([9000.0, 7.0, 8.0], [1000, 1, 1], [0, 1, 2]).half_width is None


def test_tracks_of_unknown_artists_stand_alone():
    numbers = artist_numbers(["a", None, "b", "a", None])
    np.testing.assert_array_equal(numbers[[0, 3]], numbers[0])
    assert len(set(numbers.tolist())) == 4


def test_an_estimate_reads_as_its_mean_and_what_is_known_of_its_interval():
    assert Estimate(1.23456, 0.0567, 9).text() == "1.23 ± 0.057"
    assert Estimate(1.23456, 0.0567, 9).text(".3f", ".3f") == "1.235 ± 0.057"
    assert Estimate(1.23456, None, 1).text() == "1.23"


def test_measurements_that_count_alike_have_the_interval_of_a_mean():
    found = mean_by_artist(np.array([1.0, 2.0, 6.0]), np.arange(3))
    # Their standard deviation is sqrt(7); Student's t of two degrees is 4.303.
    assert found.mean == 3 and found.half_width == pytest.approx(4.303 * (7 / 3) ** 0.5, rel=1e-4)


@pytest.mark.parametrize(("tracks_of_artists", "shared"), [
    ([5] * 20, 0.5),
    ([1] * 3, 0.0),
    ([16, 13, 13, 8, 6, 5, 4, 3, 3, 2, 1, 1, 1, 1, 1], 0.5),
])  # fmt: skip
def test_95_percent_of_intervals_cover_the_truth(tracks_of_artists, shared):
    """Tracks of one to three lengths, which share a part of their variance by artist."""
    rng = np.random.default_rng(0)
    artist_N = np.repeat(np.arange(len(tracks_of_artists)), tracks_of_artists)
    covered = covered_by_track = 0
    for _ in range(TRIALS):
        of_artist_N = rng.standard_normal(len(tracks_of_artists))[artist_N]
        own_N = rng.standard_normal(len(artist_N))
        bits_N = 10 + shared**0.5 * of_artist_N + (1 - shared) ** 0.5 * own_N
        tokens_N = rng.integers(1, 4, len(artist_N)) * 1000
        found = per_token(bits_N * tokens_N, tokens_N, artist_N)
        covered += abs(found.mean - 10) <= found.half_width
        # As if tracks were independent, and their standard error known.
        residual_N = (bits_N - found.mean) * tokens_N
        error = np.sqrt(np.square(residual_N).sum() * len(bits_N) / (len(bits_N) - 1))
        covered_by_track += abs(found.mean - 10) <= 1.96 * error / tokens_N.sum()
    assert 0.935 <= covered / TRIALS <= 0.975
    assert covered_by_track / TRIALS < 0.83
