"""KAD: equal to its definition, without bias, with an interval that covers the truth."""

import numpy as np
import pytest

from tests.tokenizer_bridge.fad.test_extrapolation import files
from tokenizer_bridge.fad import kernel
from tokenizer_bridge.fad.kernel import KernelReference, kernel_distance, median_distance

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
    reference = KernelReference(list(y[:, None]))
    assert reference.bandwidth == pytest.approx(sigma, rel=1e-12)
    assert kernel_distance(list(x[:, None]), reference).value == pytest.approx(expected, rel=1e-10)


def test_files_of_unequal_length_and_blocks(monkeypatch):
    """Pairs within a file are left out, all others count alike, whatever the blocks."""
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((windows, 2)) for windows in (1, 4, 2, 3)]
    y = [rng.standard_normal((windows, 2)) for windows in (2, 2, 5, 1, 1)]
    reference = KernelReference(y)
    flat_x, flat_y = np.concatenate(x), np.concatenate(y)
    of_x, of_y = (np.repeat(range(len(z)), [len(file) for file in z]) for z in (x, y))

    def values(a, b):
        squared = np.square(a[:, None] - b[None]).sum(-1)
        return np.exp(-squared / (2 * reference.bandwidth**2))

    expected = 100 * (
        values(flat_x, flat_x)[of_x[:, None] != of_x].mean()
        + values(flat_y, flat_y)[of_y[:, None] != of_y].mean()
        - 2 * values(flat_x, flat_y).mean()
    )
    assert kernel_distance(x, reference).value == pytest.approx(expected, rel=1e-10)
    monkeypatch.setattr(kernel, "_BLOCK", 1)
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


def test_far_from_the_origin_nothing_is_lost():
    rng = np.random.default_rng(0)
    x, y = files(rng, 30, 4, shift=0.5), files(rng, 30, 4)
    near = kernel_distance(x, KernelReference(y))
    far = kernel_distance([1e6 + one for one in x], KernelReference([1e6 + one for one in y]))
    assert far.value == pytest.approx(near.value, rel=1e-6)


def test_median_of_a_large_set_is_that_of_a_fixed_part():
    """Squared and halved, distances of unit Gaussians are χ² of 20, whose median is 19.337."""
    vectors = np.random.default_rng(0).standard_normal((5000, 20))
    assert median_distance(vectors) == pytest.approx((2 * 19.337) ** 0.5, rel=0.005)
    assert median_distance(vectors) == median_distance(vectors)


def test_what_has_no_kernel_distance_is_refused():
    x = files(np.random.default_rng(0), 10, dim=3)
    with pytest.raises(ValueError, match="most of the reference's vectors are equal"):
        KernelReference([np.ones((2, 3))] * 10)
    with pytest.raises(ValueError, match="at least 4 files"):
        KernelReference(x[:3])
    with pytest.raises(ValueError, match="at least 4 files"):
        kernel_distance(x[:3], KernelReference(x))
