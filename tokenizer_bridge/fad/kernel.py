"""KAD, the kernel audio distance: 100 × an unbiased estimate of MMD² (Chung et al. 2025,
arXiv 2502.15602).

    MMD² = E k(x, x′) + E k(y, y′) − 2 E k(x, y),    k(a, b) = exp(−|a − b|² / 2σ²)

σ is the median distance between the reference's vectors, as in the published program. Unbiased
means that x and x′ are independent: pairs within one unit, an artist's or a file's, are left out
(the published program leaves out only a vector with itself; with one vector a file and no known
artist that is the same). Having no bias it needs no extrapolation, and far fewer files than FAD
(Gretton et al. 2012, lemma 6).

The interval is that of extrapolation.py: random halves of the units.

Sets are sequences of units, as units.py has them; below, a unit's files are joined: (W, D) each.
F, G units; N, M vectors; R choices of units. Memory is that of a block of the kernel, however large
the sets are; time grows as their square, so that large ones are estimated `within_bound`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tokenizer_bridge.audio.windows import spread_starts
from tokenizer_bridge.fad.extrapolation import Estimate
from tokenizer_bridge.fad.units import Unit, files_of, student

SCALE = 100  # of the published program
MAX_FOR_MEDIAN = 2000  # vectors, evenly spread over the reference; 2 million distances
# Vectors of a set; all pairs within so many take 13 s in 128 dimensions, four vectors a unit, 31 s
# with one, and 107 s in 2,048 dimensions.
MAX_VECTORS = 20_000
_HALVES = 400
_NORMAL = 1.96
_BLOCK = 2**23  # kernel values at a time: 64 MB


class KernelReference:
    """A reference set with what does not depend on the set that is compared to it.

    seed: of the halves that intervals come from. Raises ValueError for fewer than 4 units, or if
    more than half of all pairs of vectors are equal.
    """

    def __init__(self, units: Sequence[Unit], seed: int = 0):
        self.units, self.joined = units, _joined(units)
        self.bandwidth = median_distance(np.concatenate(self.joined))
        if self.bandwidth == 0:
            raise ValueError("most of the reference's vectors are equal: KAD has no scale")
        self.chosen_GxR = _choices(len(units), np.random.default_rng((seed, 1)))
        self.within_R = _mean_within(self.joined, self.chosen_GxR, self.bandwidth)


def kernel_distance(x: Sequence[Unit], reference: KernelReference, seed: int = 0) -> Estimate:
    """KAD of a set to a reference; may come out slightly negative around 0.

    Raises ValueError for fewer than 4 units.
    """
    joined = _joined(x)
    chosen_FxR = _choices(len(x), np.random.default_rng((seed, 0)))
    mmd_R = SCALE * (
        _mean_within(joined, chosen_FxR, reference.bandwidth)
        + reference.within_R
        - 2 * _mean_between(joined, chosen_FxR, reference)
    )
    factor = max(_NORMAL, student(x, reference.units))
    value, margin = float(mmd_R[0]), float(factor * np.std(mmd_R[1:], ddof=1))
    return Estimate(value, value - margin, value + margin)


def within_bound(units: Sequence[Unit], seed: int = 0) -> list[Unit]:
    """Random files with no more than MAX_VECTORS, each still in its unit; mostly all files."""
    files = files_of(units)
    if sum(map(len, files)) <= MAX_VECTORS:
        return list(units)
    order = np.random.default_rng((seed, 2)).permutation(len(files))
    last = np.searchsorted(_sizes([files[i] for i in order]).cumsum(), MAX_VECTORS, side="right")
    is_kept = iter(np.isin(np.arange(len(files)), order[:last]))
    kept = [[file_WxD for file_WxD in unit if next(is_kept)] for unit in units]
    return [unit for unit in kept if unit]


def median_distance(vectors_NxD: np.ndarray) -> float:
    """Median Euclidean distance between two vectors; of more than MAX_FOR_MEDIAN, that many."""
    count = min(len(vectors_NxD), MAX_FOR_MEDIAN)
    chosen = spread_starts(len(vectors_NxD), 1, count)
    chosen_KxD = vectors_NxD[chosen] - vectors_NxD[chosen].mean(0)
    squared_KxK = _left_factor(chosen_KxD) @ _right_factor(chosen_KxD)
    return float(np.median(np.sqrt(squared_KxK[np.triu_indices(count, k=1)].clip(0))))


def _joined(units: Sequence[Unit]) -> list[np.ndarray]:
    """Each unit's vectors (W, D), whichever of its files they are of."""
    if len(units) < 4:
        raise ValueError(f"needs at least 4 files (or artists), not {len(units)}")
    return [np.concatenate(unit) for unit in units]


def _choices(num_units: int, rng: np.random.Generator) -> np.ndarray:
    """(num_units, R): 1 for the units that count: all of them, then those of random halves."""
    ranks_FxR = rng.random((num_units, 1 + _HALVES)).argsort(0).argsort(0)
    chosen_FxR = (ranks_FxR < num_units // 2).astype(np.float64)
    chosen_FxR[:, 0] = 1
    return chosen_FxR


def _mean_within(units: Sequence[np.ndarray], chosen_FxR: np.ndarray, bandwidth: float):
    """Mean kernel (R,) over the pairs of vectors of two different units, for every choice."""
    total_R = np.zeros(chosen_FxR.shape[1])
    for unit_of_B, sums_BxF in _kernel_sums(units, units, bandwidth):
        sums_BxF[range(len(sums_BxF)), unit_of_B] = 0  # a unit with itself
        total_R += np.einsum("br,br->r", chosen_FxR[unit_of_B], sums_BxF @ chosen_FxR)
    sizes_F = _sizes(units)
    return total_R / ((sizes_F @ chosen_FxR) ** 2 - sizes_F**2 @ chosen_FxR)


def _mean_between(
    x: Sequence[np.ndarray], chosen_FxR: np.ndarray, reference: KernelReference
) -> np.ndarray:
    """Mean kernel (R,) over the pairs of a vector of either set, for every choice."""
    total_R = np.zeros(chosen_FxR.shape[1])
    for unit_of_B, sums_BxG in _kernel_sums(x, reference.joined, reference.bandwidth):
        total_R += np.einsum("br,br->r", chosen_FxR[unit_of_B], sums_BxG @ reference.chosen_GxR)
    pairs_R = (_sizes(x) @ chosen_FxR) * (_sizes(reference.joined) @ reference.chosen_GxR)
    return total_R / pairs_R


def _kernel_sums(
    x: Sequence[np.ndarray], y: Sequence[np.ndarray], bandwidth: float
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Blocks of B parts of units of x: of which unit, and (B, G) the kernel summed over the vectors
    of a part and of a unit of y. Most units are in one part.
    """
    centre_D = np.concatenate(y).mean(0)
    scale = 1 / (np.sqrt(2) * bandwidth)
    x, y = ([scale * (unit - centre_D) for unit in units] for units in (x, y))
    right_ExM = _right_factor(np.concatenate(y))
    y_starts = _starts(y)
    most = max(1, _BLOCK // right_ExM.shape[1])
    parts = [(i, unit[n : n + most]) for i, unit in enumerate(x) for n in range(0, len(unit), most)]
    first = 0
    while first < len(parts):
        last, rows = first + 1, len(parts[first][1])
        while last < len(parts) and rows + len(parts[last][1]) <= most:
            rows += len(parts[last][1])
            last += 1
        unit_of_B, block = zip(*parts[first:last], strict=True)
        kernel_NxM = -_left_factor(np.concatenate(block)) @ right_ExM
        np.exp(kernel_NxM, out=kernel_NxM)
        by_unit_NxG = np.add.reduceat(kernel_NxM, y_starts, axis=1)
        yield np.array(unit_of_B), np.add.reduceat(by_unit_NxG, _starts(block))
        first = last


def _sizes(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.array([len(array) for array in arrays])


def _starts(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.cumsum(_sizes(arrays)) - _sizes(arrays)


# |x − y|² = (−2x, 1, |x|²) · (y, |y|², 1): one product, and no further pass over (N, M) values. It
# cancels for vectors far from 0, so that callers subtract a common centre first.


def _left_factor(x_NxD: np.ndarray) -> np.ndarray:
    squares_Nx1 = np.square(x_NxD).sum(1, keepdims=True)
    return np.concatenate([-2 * x_NxD, np.ones_like(squares_Nx1), squares_Nx1], axis=1)


def _right_factor(y_MxD: np.ndarray) -> np.ndarray:
    squares_Mx1 = np.square(y_MxD).sum(1, keepdims=True)
    return np.concatenate([y_MxD, squares_Mx1, np.ones_like(squares_Mx1)], axis=1).T
