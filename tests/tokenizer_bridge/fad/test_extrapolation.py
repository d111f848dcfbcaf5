"""FAD∞: without bias, and with an interval that covers the truth, also when windows depend."""

import numpy as np
import pytest
from scipy import stats

from tokenizer_bridge.fad import extrapolation
from tokenizer_bridge.fad.extrapolation import fad_infinity
from tokenizer_bridge.fad.frechet import fad
from tokenizer_bridge.fad.units import alone, by_artist, files_of

TRIALS = 60


def files(rng, num_files, dim, windows=1, shared=0.0, scale=1.0, shift=0.0):
    """Files of Gaussian windows, variance scale², of which the share `shared` is the file's own.

    None has a known artist.
    """
    own_Fx1xD = rng.standard_normal((num_files, 1, dim))
    noise_FxWxD = rng.standard_normal((num_files, windows, dim))
    return alone(shift + scale * (shared**0.5 * own_Fx1xD + (1 - shared) ** 0.5 * noise_FxWxD))


def vectors(units):
    return np.concatenate(files_of(units))


def coverage(make_x, make_y, truth):
    estimates = []
    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        estimates.append(fad_infinity(make_x(rng), make_y(rng), seed=trial))
    covered = sum(one.low <= truth <= one.high for one in estimates)
    return covered, np.array([one.value for one in estimates])


def assert_unbiased(values, truth):
    """The mean of all trials lies within 4 of its standard errors."""
    assert abs(values.mean() - truth) < 4 * values.std() / TRIALS**0.5


def test_two_samples_of_one_distribution_have_distance_zero():
    covered, values = coverage(
        lambda rng: files(rng, 60, dim=8), lambda rng: files(rng, 90, dim=8), truth=0.0
    )
    assert covered >= 0.9 * TRIALS
    assert_unbiased(values, 0.0)


def test_a_known_distance_that_is_not_zero():
    """N(0, 1) against N(0.3, 1.5²) in 8 dimensions: 8 (0.3² + 0.5²)."""
    truth = 8 * (0.3**2 + 0.5**2)
    covered, values = coverage(
        lambda rng: files(rng, 60, dim=8, shift=0.3, scale=1.5),
        lambda rng: files(rng, 60, dim=8),
        truth,
    )
    assert covered >= 0.9 * TRIALS
    assert_unbiased(values, truth)


def test_heavy_tails_leave_a_part_of_the_bias_and_the_interval_covers_it():
    """Multivariate Student's t with 5 degrees, variances 1/i, as in the readme's table."""
    plain = []

    def make(rng):
        radius_Fx1 = np.sqrt(3 / rng.chisquare(5, (60, 1)))
        return alone(
            (rng.standard_normal((60, 8)) * radius_Fx1 / np.sqrt(np.arange(1, 9)))[:, None]
        )

    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        plain.append(fad(vectors(make(rng)), vectors(make(rng))))
    covered, values = coverage(make, make, truth=0.0)
    assert covered >= 0.95 * TRIALS
    assert 0.05 < values.mean() / np.mean(plain) < 0.35


def test_windows_of_one_file_are_no_independent_samples():
    """6 windows a file that share 90% of their variance: the interval follows the files.

    Had each window been a file of its own, it would cover the truth far less often.
    """
    truth = 4 * 0.4**2

    def make_x(rng):
        return files(rng, 30, dim=4, windows=6, shared=0.9, shift=0.4)

    def make_y(rng):
        return files(rng, 30, dim=4, windows=6, shared=0.9)

    covered, values = coverage(make_x, make_y, truth)
    assert covered >= 0.9 * TRIALS
    assert_unbiased(values, truth)
    by_window, _ = coverage(
        lambda rng: alone(vectors(make_x(rng))[:, None]),
        lambda rng: alone(vectors(make_y(rng))[:, None]),
        truth,
    )
    assert by_window < 0.75 * TRIALS


def test_nearly_as_many_dimensions_as_files():
    """150 files against 600 in 64 dimensions: the plain one is a seventh of the variance off."""
    rng = np.random.default_rng(0)
    x, y = files(rng, 150, dim=64), files(rng, 600, dim=64)
    assert fad(vectors(x), vectors(y)) > 0.1 * 64
    estimate = fad_infinity(x, y)
    assert abs(estimate.value) < 0.02 * 64
    assert estimate.low < 0 < estimate.high


def test_the_seed_decides_the_subsets():
    rng = np.random.default_rng(0)
    x, y = files(rng, 30, dim=3), files(rng, 50, dim=3)
    assert fad_infinity(x, y, seed=1) == fad_infinity(x, y, seed=1)
    assert fad_infinity(x, y, seed=1) != fad_infinity(x, y, seed=2)


def test_another_seed_moves_the_value_little():
    """By less than a tenth of the interval's half-width: 0.04; of a quarter of the subsets 0.21."""
    rng = np.random.default_rng(0)
    x, y = files(rng, 60, dim=16, shift=0.5), files(rng, 100, dim=16)
    estimates = [fad_infinity(x, y, seed=seed) for seed in range(5)]
    margin = np.mean([one.high - one.value for one in estimates])
    assert np.std([one.value for one in estimates], ddof=1) < 0.1 * margin


def clustered(rng, artists=20, dim=8, shared=0.7):
    """5 files each of artists, who share so much of the variance."""
    of_artist = np.repeat(rng.standard_normal((artists, 1, dim)), 5, axis=0)
    own = rng.standard_normal((5 * artists, 1, dim))
    vectors_Fx1xD = shared**0.5 * of_artist + (1 - shared) ** 0.5 * own
    return by_artist(vectors_Fx1xD, [str(i // 5) for i in range(5 * artists)])


def test_files_of_one_artist_are_no_independent_samples():
    """Two samples of one distribution by other artists: drawn by file it is too high, and sure."""
    by_artists, by_file = [], []
    for trial in range(20):
        rng = np.random.default_rng(trial)
        x, y = clustered(rng), clustered(rng)
        by_artists.append(fad_infinity(x, y, seed=trial))
        by_file.append(fad_infinity(alone(files_of(x)), alone(files_of(y)), seed=trial))
    assert sum(one.low <= 0 <= one.high for one in by_artists) >= 19
    assert sum(one.low <= 0 <= one.high for one in by_file) <= 5
    mean, mean_by_file = (np.mean([one.value for one in each]) for each in (by_artists, by_file))
    assert abs(mean) < 0.05 * 8 and mean_by_file > 0.1 * 8


def test_few_artists_take_students_t(monkeypatch):
    """That of 5 artists, who tell little of their spread, on the side that has as few."""
    rng = np.random.default_rng(0)
    x, y = files(rng, 60, 8, shift=0.3), clustered(rng, 5)
    before = fad_infinity(x, y)
    monkeypatch.setattr(extrapolation, "_STUDENT", {100: 2 * stats.t.ppf(0.975, 4)})
    after = fad_infinity(x, y)
    assert after.high - after.value == pytest.approx(2 * (before.high - before.value))


def test_a_handful_of_files_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least 4 files"):
        fad_infinity(files(rng, 3, dim=2), files(rng, 30, dim=2))
