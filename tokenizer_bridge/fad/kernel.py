"""KAD, the kernel audio distance: 100 × an unbiased estimate of MMD² (Chung et al. 2025,
arXiv 2502.15602).

    MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y),    k(a, b) = exp(−|a − b|² / 2σ²)

σ is the median distance between the reference's vectors, as in the published program. Unbiased
means that x and x′ are independent: pairs within one file are left out (the published program
leaves out only a vector with itself; with one vector a file that is the same). Having no bias it
needs no extrapolation, and far fewer files than FAD (Gretton et al. 2012, lemma 6).

The interval is that of extrapolation.py: random halves of the files.

Sets are sequences of files, each (W, D). F, G files; N, M vectors; R random halves.
"""

from collections.abc import Sequence

import numpy as np

from tokenizer_bridge.fad.extrapolation import Estimate

SCALE = 100  # of the published program
MAX_FOR_MEDIAN = 2000  # vectors, evenly spread over the reference; 2 million distances
_HALVES = 400
_NORMAL = 1.96
_BLOCK = 2**23  # kernel values at a time: 64 MB


class KernelReference:
    """A reference set with what does not depend on the set that is compared to it."""

    def __init__(self, files: Sequence[np.ndarray]):
        """Raises ValueError for fewer than 4 files, or if more than half of all pairs are equal."""
        if len(files) < 4:
            raise ValueError(f"needs at least 4 files, not {len(files)}")
        self.files = files
        self.bandwidth = median_distance(np.concatenate(files))
        if self.bandwidth == 0:
            raise ValueError("most of the reference's vectors are equal: KAD has no scale")
        self.within_GxG = _kernel_sums(files, files, self.bandwidth)


def kernel_distance(x: Sequence[np.ndarray], reference: KernelReference, seed: int = 0) -> Estimate:
    """KAD of a set to a reference; may come out slightly negative around 0.

    Raises ValueError for fewer than 4 files.
    """
    if len(x) < 4:
        raise ValueError(f"needs at least 4 files, not {len(x)}")
    y = reference.files
    sums = (
        _kernel_sums(x, x, reference.bandwidth),
        reference.within_GxG,
        _kernel_sums(x, y, reference.bandwidth),
    )
    sizes_F, sizes_G = _sizes(x), _sizes(y)
    whole = _mmd2(*sums, sizes_F, sizes_G, np.ones((len(x), 1)), np.ones((len(y), 1)))
    rng = np.random.default_rng(seed)
    halves_FxR, halves_GxR = _random_halves(len(x), rng), _random_halves(len(y), rng)
    spread = np.std(_mmd2(*sums, sizes_F, sizes_G, halves_FxR, halves_GxR), ddof=1)
    value, margin = SCALE * float(whole[0]), SCALE * _NORMAL * float(spread)
    return Estimate(value, value - margin, value + margin)


def median_distance(vectors_NxD: np.ndarray) -> float:
    """Median Euclidean distance between two vectors; of more than MAX_FOR_MEDIAN, that many."""
    count = min(len(vectors_NxD), MAX_FOR_MEDIAN)
    chosen = np.linspace(0, len(vectors_NxD) - 1, count).astype(int)
    chosen_KxD = vectors_NxD[chosen] - vectors_NxD[chosen].mean(0)
    squared_KxK = _left_factor(chosen_KxD) @ _right_factor(chosen_KxD)
    return float(np.median(np.sqrt(squared_KxK[np.triu_indices(count, k=1)].clip(0))))


def _mmd2(
    within_FxF: np.ndarray,
    within_GxG: np.ndarray,
    between_FxG: np.ndarray,
    sizes_F: np.ndarray,
    sizes_G: np.ndarray,
    chosen_FxR: np.ndarray,
    chosen_GxR: np.ndarray,
) -> np.ndarray:
    """Unbiased MMD² (R,) of R choices (1 or 0) of files, from sums of the kernel over files."""

    def mean_within(sums_FxF: np.ndarray, sizes_F: np.ndarray, chosen_FxR: np.ndarray):
        total_R = np.einsum("fr,fr->r", chosen_FxR, sums_FxF @ chosen_FxR)
        pairs_R = (sizes_F @ chosen_FxR) ** 2
        # Without the pairs inside a file.
        return (total_R - np.diag(sums_FxF) @ chosen_FxR) / (pairs_R - sizes_F**2 @ chosen_FxR)

    between_R = np.einsum("fr,fr->r", chosen_FxR, between_FxG @ chosen_GxR)
    pairs_R = (sizes_F @ chosen_FxR) * (sizes_G @ chosen_GxR)
    return (
        mean_within(within_FxF, sizes_F, chosen_FxR)
        + mean_within(within_GxG, sizes_G, chosen_GxR)
        - 2 * between_R / pairs_R
    )


def _random_halves(num_files: int, rng: np.random.Generator) -> np.ndarray:
    """(num_files, R): 1 for the files of a half, 0 for the others."""
    ranks_FxR = rng.random((num_files, _HALVES)).argsort(0).argsort(0)
    return (ranks_FxR < num_files // 2).astype(np.float64)


def _kernel_sums(x: Sequence[np.ndarray], y: Sequence[np.ndarray], bandwidth: float) -> np.ndarray:
    """(F, G): the kernel summed over the vectors of two files each, in blocks of whole files."""
    centre_D = np.concatenate(y).mean(0)
    scale = 1 / (np.sqrt(2) * bandwidth)
    x, y = ([scale * (file - centre_D) for file in files] for files in (x, y))
    right_ExM = _right_factor(np.concatenate(y))
    y_starts = _starts(y)
    sums_FxG = np.empty((len(x), len(y)))
    first = 0
    while first < len(x):
        last, rows = first + 1, len(x[first])
        while last < len(x) and (rows + len(x[last])) * right_ExM.shape[1] <= _BLOCK:
            rows += len(x[last])
            last += 1
        block = x[first:last]
        kernel_NxM = -_left_factor(np.concatenate(block)) @ right_ExM
        np.exp(kernel_NxM, out=kernel_NxM)
        by_file_NxG = np.add.reduceat(kernel_NxM, y_starts, axis=1)
        sums_FxG[first:last] = np.add.reduceat(by_file_NxG, _starts(block))
        first = last
    return sums_FxG


def _sizes(files: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([len(file) for file in files])


def _starts(files: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum(_sizes(files)) - _sizes(files)


# |x − y|² = (−2x, 1, |x|²) · (y, |y|², 1): one product, and no further pass over (N, M) values. It
# cancels for vectors far from 0, so that callers subtract a common centre first.


def _left_factor(x_NxD: np.ndarray) -> np.ndarray:
    squares_Nx1 = np.square(x_NxD).sum(1, keepdims=True)
    return np.concatenate([-2 * x_NxD, np.ones_like(squares_Nx1), squares_Nx1], axis=1)


def _right_factor(y_MxD: np.ndarray) -> np.ndarray:
    squares_Mx1 = np.square(y_MxD).sum(1, keepdims=True)
    return np.concatenate([y_MxD, squares_Mx1, np.ones_like(squares_Mx1)], axis=1).T
