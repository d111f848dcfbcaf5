"""KAD: equal to its definition, without bias, with an interval that covers the truth."""

import numpy as np
import pytest
from scipy import stats

from tests.tokenizer_bridge.fad.test_extrapolation import clustered, files
from tokenizer_bridge.fad import kernel
from tokenizer_bridge.fad.kernel import (
    KernelReference,
    kernel_distance,
    median_distance,
    within_bound,
)
from tokenizer_bridge.fad.units import alone, by_artist, files_of

TRIALS = 100


def test_equal_to_the_definition():
    """One vector a file: the published formula, written as loops over pairs."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((7, 3)), 1 + rng.standard_normal((9, 3))
    pairs = [np.linalg.norm(a - b) for i, a in enumerate(y) for b in y[:i]]
    sigma = np.median(pairs)

    def mean_kernel(x, y, same):
        values = [
            np.exp(-np.sum((a - b) ** 2) / (2 * sigma**2))
            for i, a in enumerate(x)
            for j, b in enumerate(y)
            if not (same and i == j)
        ]
        return np.mean(values)

    expected = 100 * (
        mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)
    )
    reference = KernelReference(alone(y[:, None]))
    assert reference.bandwidth == pytest.approx(sigma, rel=1e-12)
    assert kernel_distance(alone(x[:, None]), reference).value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("artists", [(None,) * 7, ("a", "a", None, "b", "c", "c", "c")])
@pytest.mark.parametrize("block", [2**23, 35, 1])
def test_units_of_unequal_length_and_blocks(monkeypatch, artists, block):
    """Pairs within a file or an artist are left out, all others count alike, whatever the blocks.

    Of 35 values, 14 vectors of y, the larger units are in several parts.
    """
    rng = np.random.default_rng(0)
    x = by_artist([rng.standard_normal((w, 2)) for w in (1, 4, 2, 3, 3, 1, 2)], artists)
    y = by_artist([rng.standard_normal((w, 2)) for w in (2, 2, 5, 1, 1, 2, 1)], artists[::-1])
    monkeypatch.setattr(kernel, "_BLOCK", block)
    reference = KernelReference(y)
    flat_x, flat_y = (np.concatenate(files_of(z)) for z in (x, y))
    of_x, of_y = (np.repeat(range(len(z)), [sum(map(len, u)) for u in z]) for z in (x, y))

    def values(a, b):
        squared = np.square(a[:, None] - b[None]).sum(-1)
        return np.exp(-squared / (2 * reference.bandwidth**2))

    expected = 100 * (
        values(flat_x, flat_x)[of_x[:, None] != of_x].mean()
        + values(flat_y, flat_y)[of_y[:, None] != of_y].mean()
        - 2 * values(flat_x, flat_y).mean()
    )
    assert kernel_distance(x, reference).value == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("windows", "shared"), [(1, 0.0), (5, 0.7)])
def test_unbiased_at_zero_and_covered(windows, shared):
    """Also when windows of a file are alike, which pairs within files would take for a distance."""
    estimates = []
    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        x, y = (files(rng, n, dim=8, windows=windows, shared=shared) for n in (40, 60))
        estimates.append(kernel_distance(x, KernelReference(y), seed=trial))
    values = np.array([one.value for one in estimates])
    assert abs(values.mean()) < 4 * values.std() / TRIALS**0.5
    assert sum(one.low <= 0 <= one.high for one in estimates) >= 90


def test_files_of_one_artist_are_no_independent_samples():
    """Two samples of one distribution by other artists: by file it is too high, and sure of it."""
    by_artists, by_file = [], []
    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        x, y = clustered(rng), clustered(rng)
        by_artists.append(kernel_distance(x, KernelReference(y), seed=trial))
        x, y = alone(files_of(x)), alone(files_of(y))
        by_file.append(kernel_distance(x, KernelReference(y), seed=trial))
    values = np.array([one.value for one in by_artists])
    assert abs(values.mean()) < 4 * values.std() / TRIALS**0.5
    assert sum(one.low <= 0 <= one.high for one in by_artists) >= 95
    assert sum(one.low <= 0 <= one.high for one in by_file) <= 50


def test_the_bound_takes_random_files_and_leaves_them_with_their_artists(monkeypatch):
    files = [np.full((2, 1), float(i)) for i in range(60)]
    units = by_artist(files, [None if i < 10 else str(i // 10) for i in range(60)])
    assert within_bound(units) == units
    monkeypatch.setattr(kernel, "MAX_VECTORS", 41)
    kept = within_bound(units, seed=1)
    values = [sorted({int(file[0, 0]) for file in unit}) for unit in kept]
    assert sum(map(len, values)) == 20
    assert all(len(unit) == 1 for unit in values if unit[0] < 10)
    assert sorted(unit[0] // 10 for unit in values if unit[0] >= 10) == [1, 2, 3, 4, 5]
    assert all(len({value // 10 for value in unit}) == 1 for unit in values)
    assert str(kept) == str(within_bound(units, seed=1)) != str(within_bound(units, seed=2))


def test_covers_a_known_distance():
    """Unit Gaussians at distance δ, any σ: s^D (2 − 2 exp(−δ²/(2 (σ² + 2)))), s² = σ²/(σ² + 2)."""
    dim, delta = 4, 0.8
    covered = 0
    for trial in range(TRIALS):
        rng = np.random.default_rng(trial)
        reference = KernelReference(files(rng, 60, dim))
        variance = reference.bandwidth**2
        scale = (variance / (variance + 2)) ** (dim / 2)
        truth = 100 * scale * (2 - 2 * np.exp(-dim * delta**2 / (2 * (variance + 2))))
        estimate = kernel_distance(files(rng, 60, dim, shift=delta), reference, seed=trial)
        covered += estimate.low <= truth <= estimate.high
    assert covered >= 90


def test_few_artists_take_students_t(monkeypatch):
    """That of 5 artists, who tell little of their spread, on the side that has as few."""
    rng = np.random.default_rng(0)
    x, reference = files(rng, 60, 8, shift=0.3), KernelReference(clustered(rng, 5))
    before = kernel_distance(x, reference)
    monkeypatch.setattr(kernel, "_NORMAL", 2 * stats.t.ppf(0.975, 4))
    after = kernel_distance(x, reference)
    assert after.high - after.value == pytest.approx(2 * (before.high - before.value))


def test_far_from_the_origin_nothing_is_lost():
    rng = np.random.default_rng(0)
    x, y = files(rng, 30, 4, shift=0.5), files(rng, 30, 4)
    near = kernel_distance(x, KernelReference(y))
    far_x, far_y = (alone([1e6 + one for one in files_of(z)]) for z in (x, y))
    far = kernel_distance(far_x, KernelReference(far_y))
    assert far.value == pytest.approx(near.value, rel=1e-6)


def test_median_of_a_large_set_is_that_of_a_fixed_part():
    """Squared and halved, distances of unit Gaussians are χ² of 20, whose median is 19.337."""
    vectors = np.random.default_rng(0).standard_normal((5000, 20))
    assert median_distance(vectors) == pytest.approx((2 * 19.337) ** 0.5, rel=0.005)
    assert median_distance(vectors) == median_distance(vectors)


def test_what_has_no_kernel_distance_is_refused():
    x = files(np.random.default_rng(0), 10, dim=3)
    with pytest.raises(ValueError, match="most of the reference's vectors are equal"):
        KernelReference(alone([np.ones((2, 3))] * 10))
    with pytest.raises(ValueError, match="at least 4 files"):
        KernelReference(x[:3])
    with pytest.raises(ValueError, match="at least 4 files"):
        kernel_distance(x[:3], KernelReference(x))
