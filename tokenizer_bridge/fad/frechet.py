"""Fréchet distance between Gaussians, in float64 and without an epsilon.

    d² = |μ₁ − μ₂|² + tr Σ₁ + tr Σ₂ − 2 tr (Σ₁^½ Σ₂ Σ₁^½)^½           (Dowson & Landau 1982)

With any roots Σᵢ = Rᵢᵀ Rᵢ the last trace is the nuclear norm (the sum of the singular values) of
R₁ R₂ᵀ. That needs no matrix square root and no inverse, so singular covariances (fewer vectors than
dimensions, dead units, one vector alone) are no special case. The roots are taken from the vectors
themselves: going through the covariance would square their condition number, and a square root of
rounding errors is 1e-8, once for each dimension that holds nothing.

N, M vectors, D dimensions, R rows of a root (at most D).
"""

from dataclasses import dataclass

import numpy as np

# Of the largest eigenvalue: what rounding alone may put below 0.
_NEGATIVE_TOLERANCE = 1e-10


@dataclass(frozen=True)
class Gaussian:
    """A mean and a covariance root_RxDᵀ · root_RxD, both float64."""

    mean_D: np.ndarray
    root_RxD: np.ndarray
    n: int | None = None  # vectors that it was fitted to; None: given, not fitted

    @property
    def cov_DxD(self) -> np.ndarray:
        return self.root_RxD.T @ self.root_RxD

    @property
    def variance(self) -> float:
        """The trace of the covariance."""
        return float(np.square(self.root_RxD).sum())

    @classmethod
    def from_covariance(cls, mean_D: np.ndarray, cov_DxD: np.ndarray) -> "Gaussian":
        """The Gaussian with these moments. Raises ValueError unless `cov_DxD` is a covariance."""
        mean_D, cov_DxD = np.asarray(mean_D, np.float64), np.asarray(cov_DxD, np.float64)
        if not np.allclose(cov_DxD, cov_DxD.T, rtol=1e-10, atol=0):
            raise ValueError("a covariance must be symmetric")
        values_D, vectors_DxD = np.linalg.eigh(cov_DxD)
        if values_D[0] < -_NEGATIVE_TOLERANCE * abs(values_D[-1]):
            raise ValueError(
                f"a covariance must not have a negative eigenvalue ({values_D[0]:.3g})"
            )
        roots_D = np.sqrt(values_D.clip(0))
        return cls(mean_D, roots_D[:, None] * vectors_DxD.T)


def fit_gaussian(vectors_NxD: np.ndarray) -> Gaussian:
    """Mean and unbiased covariance (1/(N−1)) of vectors; one vector alone has covariance 0.

    Raises ValueError without vectors or with one that is not finite.
    """
    vectors_NxD = np.asarray(vectors_NxD, np.float64)
    n, dim = vectors_NxD.shape
    if n == 0 or not np.isfinite(vectors_NxD).all():
        raise ValueError("needs at least one vector, and finite ones")
    mean_D = vectors_NxD.mean(0)
    if n == 1:
        return Gaussian(mean_D, np.zeros((0, dim)), n)
    root_NxD = (vectors_NxD - mean_D) / np.sqrt(n - 1)
    return Gaussian(mean_D, _triangle(root_NxD) if n > dim else root_NxD, n)


def _triangle(root_NxD: np.ndarray) -> np.ndarray:
    """(D, D) upper triangular, with the same product rootᵀ · root as N > D rows.

    Cholesky's is several times faster than QR's. It fails where the smallest values are lost in the
    rounding of the largest; just before that, distances were still right to 6e-11.
    """
    try:
        return np.linalg.cholesky(root_NxD.T @ root_NxD).T
    except np.linalg.LinAlgError:  # not positive definite
        return np.linalg.qr(root_NxD, mode="r")


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """The squared Fréchet (2-Wasserstein) distance, ≥ 0, in squared units of the vectors.

    It is a squared metric, so what falls below 0 is rounding (of the order of 1e-15 of the traces)
    and is returned as 0.
    """
    cross_RxR = a.root_RxD @ b.root_RxD.T
    trace = np.linalg.svd(cross_RxR, compute_uv=False).sum() if cross_RxR.size else 0.0
    squared = np.square(a.mean_D - b.mean_D).sum() + a.variance + b.variance - 2 * trace
    return max(0.0, float(squared))


def fad(x_NxD: np.ndarray, y_MxD: np.ndarray) -> float:
    """Fréchet distance of the Gaussians fitted to two sets of vectors, in their squared units.

    It is biased upward, roughly by 1/N + 1/M: see extrapolation.py. Raises ValueError for an empty
    set and for vectors that are not finite.
    """
    return frechet_distance(fit_gaussian(x_NxD), fit_gaussian(y_MxD))
