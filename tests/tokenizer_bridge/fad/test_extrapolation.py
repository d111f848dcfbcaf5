"""FAD∞: without bias, and with an interval that covers the truth, also when windows depend."""

import numpy as np
import pytest

from tokenizer_bridge.fad.extrapolation import fad_infinity, subsets
from tokenizer_bridge.fad.frechet import fad

TRIALS = 60


def files(rng, num_files, dim, windows=1, shared=0.0, scale=1.0, shift=0.0):
    """Files of Gaussian windows, variance scale², of which the share `shared` is the file's own."""
    own_Fx1xD = rng.standard_normal((num_files, 1, dim))
    noise_FxWxD = rng.standard_normal((num_files, windows, dim))
    return list(shift + scale * (shared**0.5 * own_Fx1xD + (1 - shared) ** 0.5 * noise_FxWxD))


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
        lambda rng: list(np.concatenate(make_x(rng))[:, None]),
        lambda rng: list(np.concatenate(make_y(rng))[:, None]),
        truth,
    )
    assert by_window < 0.75 * TRIALS


def test_nearly_as_many_dimensions_as_files():
    """150 files against 600 in 64 dimensions: the plain one is a seventh of the variance off."""
    rng = np.random.default_rng(0)
    x, y = files(rng, 150, dim=64), files(rng, 600, dim=64)
    assert fad(np.concatenate(x), np.concatenate(y)) > 0.1 * 64
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


def test_subsets_are_disjoint_until_all_files_were_used():
    vectors = [np.array([[float(i)]]) for i in range(10)]
    found = [set(one.ravel()) for one in subsets(vectors, 3, 6, np.random.default_rng(0))]
    assert all(len(one) == 3 for one in found)
    assert len(set.union(*found[:3])) == 9
    assert len(set.union(*found[3:])) == 9


def test_a_handful_of_files_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="at least 4 files"):
        fad_infinity(files(rng, 3, dim=2), files(rng, 30, dim=2))
