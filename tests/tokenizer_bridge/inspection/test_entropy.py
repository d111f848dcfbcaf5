"""Entropies against closed forms, and the signs of their errors on chains whose truth is known."""

import numpy as np
import pytest

from tokenizer_bridge.inspection import entropy
from tokenizer_bridge.inspection.counts import CodeCounts


def chain(transition_VxV: np.ndarray, length: int, seed: int) -> np.ndarray:
    """Tokens (L,) of a Markov chain."""
    rng = np.random.default_rng(seed)
    cumulative_VxV = transition_VxV.cumsum(1)
    tokens = [0]
    for u in rng.random(length - 1):
        tokens.append(int(np.searchsorted(cumulative_VxV[tokens[-1]], u)))
    return np.minimum(tokens, len(transition_VxV) - 1).astype(np.uint16)


def counts_of(tokens_L: np.ndarray, num_codes: int) -> CodeCounts:
    counts = CodeCounts(num_codes)
    counts.add(tokens_L)
    return counts


def test_closed_forms():
    assert entropy.plug_in(np.array([8, 4, 2, 2, 0])) == pytest.approx(1.75, rel=1e-12)
    # 3 cells more than one, n = 16
    assert entropy.miller_madow(np.array([8, 4, 2, 2, 0])) == pytest.approx(
        1.75 + 3 / (32 * np.log(2)), rel=1e-12
    )
    # After 0 always 1; after 1 as often 0 as 1: ½ · 0 + ½ · 1 bit.
    pairs = np.array([[0, 10], [5, 5]], np.uint32)
    assert entropy.conditional_plug_in(pairs) == pytest.approx(0.5, rel=1e-12)


def test_truth_lies_between_plug_in_and_held_out():
    """100 codes, 3,000 tokens for 10,000 pairs: few, as in music."""
    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.full(100, 0.3), size=100)
    stationary = np.linalg.matrix_power(transition, 200)[0]
    truth = -(stationary[:, None] * transition * np.log2(transition + 1e-300)).sum()
    fit, held = (counts_of(chain(transition, 3_000, seed), 100) for seed in (1, 2))
    low = entropy.conditional_plug_in(fit.pairs_VxV)
    corrected = entropy.conditional_miller_madow(fit.pairs_VxV)
    high = entropy.bigram_cost(fit.codes_V, fit.pairs_VxV, held.pairs_VxV)
    assert low < corrected < truth < high
    assert truth - low > 0.3  # the bias is what the other figures are for
    assert high < entropy.unigram_cost(fit.codes_V, held.codes_V)


def test_with_many_tokens_all_estimates_agree():
    transition = np.random.default_rng(0).dirichlet(np.ones(4), size=4)
    fit, held = (counts_of(chain(transition, 40_000, seed), 4) for seed in (1, 2))
    estimates = [
        entropy.conditional_plug_in(fit.pairs_VxV),
        entropy.conditional_miller_madow(fit.pairs_VxV),
        entropy.bigram_cost(fit.codes_V, fit.pairs_VxV, held.pairs_VxV),
    ]
    # Two samples differ by about 1/√40,000 bits.
    np.testing.assert_allclose(estimates, estimates[0], atol=0.03)


def test_the_bigram_is_a_distribution():
    """Cost of pair (a, b) is −log₂ p(b | a): over all b the p add up to 1, for unseen a too."""
    counts = counts_of(np.random.default_rng(0).integers(0, 9, 60).astype(np.uint16), 12)
    for before in (0, 11):  # seen; never seen
        total = 0.0
        for after in range(12):
            one = np.zeros((12, 12), np.uint32)
            one[before, after] = 1
            total += 2 ** -entropy.bigram_cost(counts.codes_V, counts.pairs_VxV, one)
        assert total == pytest.approx(1, rel=1e-12)


def test_counts_of_the_rest():
    tokens = np.random.default_rng(0).integers(0, 5, (2, 50)).astype(np.uint16)
    both = CodeCounts(5)
    for row in tokens:
        both.add(row)
    rest, second = both.without(counts_of(tokens[0], 5)), counts_of(tokens[1], 5)
    np.testing.assert_array_equal(rest.pairs_VxV, second.pairs_VxV)
    np.testing.assert_array_equal(rest.codes_V, second.codes_V)
