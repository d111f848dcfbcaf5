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


class CodeModel:
    """A unigram and a bigram model of tracks, to price other tracks with.

    Unigram: add-½ (Krichevsky–Trofimov) frequencies. Bigram: interpolated absolute discounting
    (Ney, Essen and Kneser 1994), p(b | a) = max(n_ab − d, 0) / n_a + d·t_a / n_a · p(b), with t_a
    distinct followers of a, the discount d = n₁ / (n₁ + 2n₂) from how many pairs were seen once and
    twice (½ where none was seen once: some of the probability is always left for new pairs), and
    the unigram's p(b).
    codes_V, pairs_VxV: counts of codes and of pairs [before, after]; pairs None: no bigram.
    """

    def __init__(self, codes_V: np.ndarray, pairs_VxV: np.ndarray | None):
        self._prob_V = (codes_V + 0.5) / (codes_V.sum() + 0.5 * len(codes_V))
        self._bits_V = -np.log2(self._prob_V)
        self._pairs_VxV = pairs_VxV
        if pairs_VxV is not None:
            once, twice = (np.count_nonzero(pairs_VxV == times) for times in (1, 2))
            self._discount = once / (once + 2 * twice) if once else 0.5
            self._num_V = pairs_VxV.sum(1, dtype=np.int64)
            self._distinct_V = np.count_nonzero(pairs_VxV, axis=1)

    def unigram_bits(self, tokens_L: np.ndarray) -> float:
        """The cost of a track's tokens together."""
        return float(self._bits_V[tokens_L].sum())

    def bigram_bits(self, tokens_L: np.ndarray) -> float:
        """The cost of all tokens but the first together, each given the one before."""
        before_P, after_P = tokens_L[:-1], tokens_L[1:]
        base_P, num_P = self._prob_V[after_P], self._num_V[before_P]
        kept_P = np.maximum(self._pairs_VxV[before_P, after_P] - self._discount, 0.0)
        mixed_P = (kept_P + self._discount * self._distinct_V[before_P] * base_P) / np.maximum(
            num_P, 1
        )
        prob_P = np.where(num_P > 0, mixed_P, base_P)
        return float(-np.log2(prob_P).sum())


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
