"""Embeddings in two dimensions: the main axes of the reference, all else seen along them.

N vectors, D dimensions.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Projection:
    """The map x → (x − mean) · axesᵀ into a plane."""

    mean_D: np.ndarray
    axes_2xD: np.ndarray  # orthonormal
    shares_2: np.ndarray  # of the reference's variance

    def __call__(self, vectors_NxD: np.ndarray) -> np.ndarray:
        """(N, 2)."""
        return (vectors_NxD - self.mean_D) @ self.axes_2xD.T


def fit_projection(reference_NxD: np.ndarray) -> Projection:
    """The two principal axes of the reference, in float64; the same vectors give the same signs.

    Each axis points to where its largest component is positive. Raises ValueError for fewer than
    three vectors.
    """
    if len(reference_NxD) < 3:
        raise ValueError("two axes need three vectors")
    reference_NxD = np.asarray(reference_NxD, np.float64)
    mean_D = reference_NxD.mean(0)
    _, sizes, axes = np.linalg.svd(reference_NxD - mean_D, full_matrices=False)
    axes_2xD = axes[:2]
    largest_2 = np.take_along_axis(axes_2xD, np.abs(axes_2xD).argmax(1)[:, None], 1)
    variance = np.square(sizes)
    shares_2 = variance[:2] / max(variance.sum(), np.finfo(np.float64).tiny)
    return Projection(mean_D, axes_2xD * np.where(largest_2 < 0, -1, 1), shares_2)
