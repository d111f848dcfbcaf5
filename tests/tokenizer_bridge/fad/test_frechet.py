"""The Fréchet distance against closed forms, singular ones too, and against scipy's sqrtm."""

import numpy as np
import pytest
import scipy.linalg

from tokenizer_bridge.fad.frechet import Gaussian, fad, fit_gaussian, frechet_distance

RTOL = 1e-10  # of closed forms; 1e-6 is asked for, and this is what float64 gives


def gaussian(mean, cov):
    return Gaussian.from_covariance(np.array(mean), np.array(cov))


def random_rotation(dim, seed):
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((dim, dim)))[0]


def test_one_dimension():
    """(μ₁ − μ₂)² + (σ₁ − σ₂)²."""
    assert frechet_distance(gaussian([1.0], [[4.0]]), gaussian([4.0], [[9.0]])) == pytest.approx(
        9 + 1, rel=RTOL
    )


def test_covariances_that_commute():
    """Σ (√λ − √κ)² in a common basis."""
    basis = random_rotation(50, seed=0)
    values_a, values_b = np.geomspace(1e-6, 1e3, 50), np.geomspace(1e2, 1e-4, 50)
    a = gaussian(np.zeros(50), basis * values_a @ basis.T)
    b = gaussian(np.full(50, 0.5), basis * values_b @ basis.T)
    expected = 50 * 0.25 + np.square(np.sqrt(values_a) - np.sqrt(values_b)).sum()
    assert frechet_distance(a, b) == pytest.approx(expected, rel=RTOL)


def test_two_by_two_that_do_not_commute():
    """For 2×2 matrices tr (AB)^½ = √(tr AB + 2 √(det A det B))."""
    cov_a, cov_b = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[5.0, -2.0], [-2.0, 1.0]])
    assert not np.allclose(cov_a @ cov_b, cov_b @ cov_a)
    cross = np.sqrt(
        np.trace(cov_a @ cov_b) + 2 * np.sqrt(np.linalg.det(cov_a) * np.linalg.det(cov_b))
    )
    expected = np.trace(cov_a) + np.trace(cov_b) - 2 * cross
    found = frechet_distance(gaussian([0, 0], cov_a), gaussian([0, 0], cov_b))
    assert found == pytest.approx(expected, rel=RTOL)


@pytest.mark.parametrize("rank", [0, 1, 5, 19])
def test_singular_covariances(rank):
    """A projection P against the identity: tr P + D − 2 tr P = D − rank."""
    basis = random_rotation(20, seed=rank)[:, :rank]
    singular = gaussian(np.zeros(20), basis @ basis.T)
    assert frechet_distance(singular, gaussian(np.zeros(20), np.eye(20))) == pytest.approx(
        20 - rank, rel=1e-7
    )


def test_covariances_on_different_lines():
    """σ u uᵀ and τ v vᵀ: σ + τ − 2 √(στ) |u·v|; on orthogonal lines the cross term is gone."""
    u, v = np.array([1.0, 0.0, 0.0]), np.array([0.6, 0.8, 0.0])
    a, b = gaussian(np.zeros(3), 4 * np.outer(u, u)), gaussian(np.zeros(3), 9 * np.outer(v, v))
    assert frechet_distance(a, b) == pytest.approx(4 + 9 - 2 * 6 * 0.6, rel=RTOL)
    w = gaussian(np.zeros(3), np.outer([0, 0, 1.0], [0, 0, 1.0]))
    assert frechet_distance(a, w) == pytest.approx(5, rel=RTOL)


@pytest.mark.parametrize(("n", "m", "dim"), [(400, 300, 20), (12, 300, 40), (12, 9, 40)])
def test_samples_agree_with_their_covariances(n, m, dim):
    """More and fewer vectors than dimensions: the same as by definition, from np.cov."""
    rng = np.random.default_rng(n)
    mixing = rng.standard_normal((dim, dim))
    x, y = rng.standard_normal((n, dim)) @ mixing, 2 + rng.standard_normal((m, dim))
    by_definition = frechet_distance(
        gaussian(x.mean(0), np.cov(x.T)), gaussian(y.mean(0), np.cov(y.T))
    )
    assert fad(x, y) == pytest.approx(by_definition, rel=1e-6)


def test_agrees_with_scipys_sqrtm_where_that_is_well_conditioned():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2000, 30)), 1 + rng.standard_normal((1500, 30)) * np.arange(1, 31)
    cov_x, cov_y = np.cov(x.T), np.cov(y.T)
    root = scipy.linalg.sqrtm(cov_x @ cov_y).real
    shift = np.square(x.mean(0) - y.mean(0)).sum()
    expected = shift + np.trace(cov_x) + np.trace(cov_y) - 2 * np.trace(root)
    assert fad(x, y) == pytest.approx(expected, rel=1e-9)


def test_one_vector_alone_has_covariance_zero():
    x, y = np.array([[1.0, 2.0]]), np.random.default_rng(0).standard_normal((100, 2))
    expected = np.square(x[0] - y.mean(0)).sum() + np.trace(np.cov(y.T))
    assert fad(x, y) == pytest.approx(expected, rel=RTOL)
    assert fad(x, x + 3) == 18.0


def test_constant_vectors_are_exact():
    """Silence: a thousand times the same vector, with features that float32 rounds."""
    x = np.full((1000, 5), np.float32(0.1))
    y = np.full((10, 5), np.float32(2.1))
    assert fad(x, y) == pytest.approx(5 * (float(y[0, 0]) - float(x[0, 0])) ** 2, rel=RTOL)


@pytest.mark.parametrize(("n", "dim"), [(500, 30), (20, 30), (1, 30)])
def test_a_set_has_no_distance_to_itself_whatever_its_order(n, dim):
    """0 to rounding, never below it, and far under what any set could differ by."""
    x = 1e3 + 1e-3 * np.random.default_rng(0).standard_normal((n, dim))
    assert 0 <= fad(x, x) < 1e-12 * (1 + fit_gaussian(x).variance)
    assert 0 <= fad(x, x[::-1]) < 1e-12 * (1 + fit_gaussian(x).variance)


def test_dead_units_and_doubled_vectors_cost_no_precision():
    """Rank 10 in 300 dimensions, more vectors than dimensions: where sqrtm needs an epsilon."""
    rng = np.random.default_rng(0)
    x = np.zeros((1000, 300))
    x[:, :10] = rng.standard_normal((1000, 10))
    rotated = x @ random_rotation(300, seed=1)
    assert fad(2 * rotated, rotated) == pytest.approx(
        np.square(rotated.mean(0)).sum() + x.var(0, ddof=1).sum(), rel=RTOL
    )


@pytest.mark.parametrize("smallest", [1e-3, 3e-8, 1e-12])
def test_variances_of_very_different_sizes(smallest):
    """The same vectors at 1 and at 3 times their size: 4 tr Σ, however ill-conditioned Σ is."""
    x = np.random.default_rng(0).standard_normal((500, 60)) * np.geomspace(1, smallest, 60)
    x = (x - x.mean(0)) @ random_rotation(60, seed=0)
    assert fad(3 * x, x) == pytest.approx(4 * x.var(0, ddof=1).sum(), rel=1e-9)


def test_what_is_no_covariance_is_refused():
    with pytest.raises(ValueError, match="symmetric"):
        gaussian([0, 0], [[1.0, 2.0], [0.0, 1.0]])
    with pytest.raises(ValueError, match="negative eigenvalue"):
        gaussian([0, 0], [[1.0, 2.0], [2.0, 1.0]])


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="finite"):
        fad(np.array([[0.0, np.nan]]), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="at least one"):
        fad(np.zeros((0, 2)), np.zeros((3, 2)))
