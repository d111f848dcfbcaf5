"""Entropies of codes in bits, by estimators whose bias has a known sign.

n tokens, V codes. The plug-in estimate −Σ p̂ log₂ p̂ is biased low, by about (codes seen − 1) / 2n
nats while n is well above the number of codes; Miller and Madow (1955) add just that. The entropy
of a code given the one before is spread over V² cells: while n is not well above V² the plug-in is
far too low, and the correction does not mend it. From above it is bounded by what a model fitted to
other tracks pays for a token: no model pays less on average than the entropy. The truth lies
between the two, but for the chance of which tracks are held out.
"""

import numpy as np

_ROWS = 256  # contexts that are looked at at once


def plug_in(counts: np.ndarray) -> float:
    """−Σ p̂ log₂ p̂ of counts of any shape."""
    counts_N = counts[counts > 0].astype(np.float64)
    share_N = counts_N / counts_N.sum()
    return float(-(share_N * np.log2(share_N)).sum())


def miller_madow(counts: np.ndarray) -> float:
    """The plug-in estimate plus (codes seen − 1) / 2n nats."""
    return plug_in(counts) + _correction(counts)


def conditional_plug_in(pairs_VxV: np.ndarray) -> float:
    """Ĥ(after | before) = Ĥ(pairs) − Ĥ(before), in bits."""
    return _row_entropy(pairs_VxV) - plug_in(pairs_VxV.sum(1, dtype=np.int64))


def conditional_miller_madow(pairs_VxV: np.ndarray) -> float:
    """The same with Miller and Madow's correction of both terms."""
    before_V = pairs_VxV.sum(1, dtype=np.int64)
    num_pairs = before_V.sum()
    correction = (np.count_nonzero(pairs_VxV) - 1) / (2 * num_pairs * np.log(2))
    return conditional_plug_in(pairs_VxV) + correction - _correction(before_V)


def unigram_cost(fitted_V: np.ndarray, held_V: np.ndarray) -> float:
    """Bits per held-out token under add-½ (Krichevsky–Trofimov) frequencies of other tracks."""
    return float(-(held_V * np.log2(_add_half(fitted_V))).sum() / held_V.sum())


def bigram_cost(fitted_V: np.ndarray, fitted_VxV: np.ndarray, held_VxV: np.ndarray) -> float:
    """Bits per held-out token, given the one before, under a bigram model of other tracks.

    Interpolated absolute discounting (Ney, Essen and Kneser 1994):
    p(b | a) = max(n_ab − d, 0) / n_a + d·t_a / n_a · p(b), with t_a distinct followers of a, the
    discount d = n₁ / (n₁ + 2n₂) from how many pairs were seen once and twice, and add-½ p(b).
    fitted_V, fitted_VxV: code and pair counts of the fit; held_VxV: of the held-out tracks.
    """
    once, twice = (np.count_nonzero(fitted_VxV == times) for times in (1, 2))
    discount = once / (once + 2 * twice) if once else 0.0
    base_V = _add_half(fitted_V)
    bits, num_pairs = 0.0, 0
    for first in range(0, len(fitted_VxV), _ROWS):
        seen_RxV = fitted_VxV[first : first + _ROWS]
        held_RxV = held_VxV[first : first + _ROWS]
        row_P, after_P = np.nonzero(held_RxV)
        held_P = held_RxV[row_P, after_P].astype(np.float64)
        n_ab_P = seen_RxV[row_P, after_P].astype(np.float64)
        n_a_P = seen_RxV.sum(1, dtype=np.int64)[row_P]
        t_a_P = np.count_nonzero(seen_RxV, axis=1)[row_P]
        kept_P = np.maximum(n_ab_P - discount, 0.0)
        mixed_P = (kept_P + discount * t_a_P * base_V[after_P]) / np.maximum(n_a_P, 1)
        prob_P = np.where(n_a_P > 0, mixed_P, base_V[after_P])
        with np.errstate(divide="ignore"):  # no discount, an unseen pair: infinitely dear
            bits -= float((held_P * np.log2(prob_P)).sum())
        num_pairs += held_P.sum()
    return bits / num_pairs


def _add_half(counts_V: np.ndarray) -> np.ndarray:
    return (counts_V + 0.5) / (counts_V.sum() + 0.5 * len(counts_V))


def _correction(counts: np.ndarray) -> float:
    return float((np.count_nonzero(counts) - 1) / (2 * counts.sum(dtype=np.int64) * np.log(2)))


def _row_entropy(counts_VxV: np.ndarray) -> float:
    """`plug_in` of a large table without a copy of it in float64."""
    total = counts_VxV.sum(dtype=np.int64)
    sum_n_log_n = 0.0
    for first in range(0, len(counts_VxV), _ROWS):
        rows = counts_VxV[first : first + _ROWS]
        counts_P = rows[rows > 0].astype(np.float64)
        sum_n_log_n += float((counts_P * np.log2(counts_P)).sum())
    return float(np.log2(total) - sum_n_log_n / total)
