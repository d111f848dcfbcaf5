"""KAD, the kernel audio distance: 100 × an unbiased estimate of MMD² (Chung et al. 2025,
arXiv 2502.15602).

    MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y),    k(a, b) = exp(−|a − b|² / 2σ²)

σ is the median distance between the reference's vectors, as in the published program. Unbiased
means that x and x′ are independent: pairs within one file are left out (the published program
leaves out only a vector with itself; with one vector a file that is the same). Having no bias it
needs no extrapolation, and far fewer files than FAD (Gretton et al. 2012, lemma 6).

The interval is that of extrapolation.py: random halves of the files.

Sets are sequences of files, each (W, D). F, G files; N, M vectors; R choices of files. Memory is
that of a block of the kernel, however large the sets are.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tokenizer_bridge.fad.extrapolation import Estimate

SCALE = 100  # of the published program
MAX_FOR_MEDIAN = 2000  # vectors, evenly spread over the reference; 2 million distances
_HALVES = 400
_NORMAL = 1.96
_BLOCK = 2**23  # kernel values at a time: 64 MB


class KernelReference:
    """A reference set with what does not depend on the set that is compared to it.

    seed: of the halves that intervals come from. Raises ValueError for fewer than 4 files, or if
    more than half of all pairs of vectors are equal.
    """

    def __init__(self, files: Sequence[np.ndarray], seed: int = 0):
        if len(files) < 4:
            raise ValueError(f"needs at least 4 files, not {len(files)}")
        self.files = files
        self.bandwidth = median_distance(np.concatenate(files))
        if self.bandwidth == 0:
            raise ValueError("most of the reference's vectors are equal: KAD has no scale")
        self.chosen_GxR = _choices(len(files), np.random.default_rng((seed, 1)))
        self.within_R = _mean_within(files, self.chosen_GxR, self.bandwidth)


def kernel_distance(x: Sequence[np.ndarray], reference: KernelReference, seed: int = 0) -> Estimate:
    """KAD of a set to a reference; may come out slightly negative around 0.

    Raises ValueError for fewer than 4 files.
    """
    if len(x) < 4:
        raise ValueError(f"needs at least 4 files, not {len(x)}")
    chosen_FxR = _choices(len(x), np.random.default_rng((seed, 0)))
    mmd_R = SCALE * (
        _mean_within(x, chosen_FxR, reference.bandwidth)
        + reference.within_R
        - 2 * _mean_between(x, chosen_FxR, reference)
    )
    value, margin = float(mmd_R[0]), float(_NORMAL * np.std(mmd_R[1:], ddof=1))
    return Estimate(value, value - margin, value + margin)


def median_distance(vectors_NxD: np.ndarray) -> float:
    """Median Euclidean distance between two vectors; of more than MAX_FOR_MEDIAN, that many."""
    count = min(len(vectors_NxD), MAX_FOR_MEDIAN)
    chosen = np.linspace(0, len(vectors_NxD) - 1, count).astype(int)
    chosen_KxD = vectors_NxD[chosen] - vectors_NxD[chosen].mean(0)
    squared_KxK = _left_factor(chosen_KxD) @ _right_factor(chosen_KxD)
    return float(np.median(np.sqrt(squared_KxK[np.triu_indices(count, k=1)].clip(0))))


def _choices(num_files: int, rng: np.random.Generator) -> np.ndarray:
    """(num_files, R): 1 for the files that count: all of them, then those of random halves."""
    ranks_FxR = rng.random((num_files, 1 + _HALVES)).argsort(0).argsort(0)
    chosen_FxR = (ranks_FxR < num_files // 2).astype(np.float64)
    chosen_FxR[:, 0] = 1
    return chosen_FxR


def _mean_within(files: Sequence[np.ndarray], chosen_FxR: np.ndarray, bandwidth: float):
    """Mean kernel (R,) over the pairs of vectors of two different files, for every choice."""
    total_R = np.zeros(chosen_FxR.shape[1])
    for rows, sums_BxF in _kernel_sums(files, files, bandwidth):
        sums_BxF[range(len(sums_BxF)), range(rows.start, rows.stop)] = 0  # a file with itself
        total_R += np.einsum("br,br->r", chosen_FxR[rows], sums_BxF @ chosen_FxR)
    sizes_F = _sizes(files)
    return total_R / ((sizes_F @ chosen_FxR) ** 2 - sizes_F**2 @ chosen_FxR)


def _mean_between(
    x: Sequence[np.ndarray], chosen_FxR: np.ndarray, reference: KernelReference
) -> np.ndarray:
    """Mean kernel (R,) over the pairs of a vector of either set, for every choice."""
    total_R = np.zeros(chosen_FxR.shape[1])
    for rows, sums_BxG in _kernel_sums(x, reference.files, reference.bandwidth):
        total_R += np.einsum("br,br->r", chosen_FxR[rows], sums_BxG @ reference.chosen_GxR)
    pairs_R = (_sizes(x) @ chosen_FxR) * (_sizes(reference.files) @ reference.chosen_GxR)
    return total_R / pairs_R


def _kernel_sums(
    x: Sequence[np.ndarray], y: Sequence[np.ndarray], bandwidth: float
) -> Iterator[tuple[slice, np.ndarray]]:
    """Blocks of B files of x: which, and (B, G) the kernel summed over the vectors of two files."""
    centre_D = np.concatenate(y).mean(0)
    scale = 1 / (np.sqrt(2) * bandwidth)
    x, y = ([scale * (file - centre_D) for file in files] for files in (x, y))
    right_ExM = _right_factor(np.concatenate(y))
    y_starts = _starts(y)
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
        yield slice(first, last), np.add.reduceat(by_file_NxG, _starts(block))
        first = last


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
