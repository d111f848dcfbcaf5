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


def model_of(tokens_L: np.ndarray, num_codes: int) -> entropy.CodeModel:
    counts = counts_of(tokens_L, num_codes)
    return entropy.CodeModel(counts.codes_V, counts.pairs_VxV)


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
    fit_L, held_L = (chain(transition, 3_000, seed) for seed in (1, 2))
    fit, model = counts_of(fit_L, 100), model_of(fit_L, 100)
    low = entropy.conditional_plug_in(fit.pairs_VxV)
    corrected = entropy.conditional_miller_madow(fit.pairs_VxV)
    high = model.bigram_bits(held_L) / 2_999
    assert low < corrected < truth < high
    assert truth - low > 0.3  # the bias is what the other figures are for
    assert high < model.unigram_bits(held_L) / 3_000


def test_with_many_tokens_all_estimates_agree():
    transition = np.random.default_rng(0).dirichlet(np.ones(4), size=4)
    fit_L, held_L = (chain(transition, 40_000, seed) for seed in (1, 2))
    fit = counts_of(fit_L, 4)
    estimates = [
        entropy.conditional_plug_in(fit.pairs_VxV),
        entropy.conditional_miller_madow(fit.pairs_VxV),
        model_of(fit_L, 4).bigram_bits(held_L) / 39_999,
    ]
    # Two samples differ by about 1/√40,000 bits.
    np.testing.assert_allclose(estimates, estimates[0], atol=0.03)


def test_both_models_are_distributions():
    """Over all b the p(b) add up to 1, and so do the p(b | a), for unseen a too."""
    model = model_of(np.random.default_rng(0).integers(0, 9, 60).astype(np.uint16), 12)
    every = np.arange(12, dtype=np.uint16)
    assert sum(2 ** -model.unigram_bits(every[b : b + 1]) for b in every) == pytest.approx(1)
    for before in (0, 11):  # seen; never seen
        pairs = np.stack([np.full(12, before, np.uint16), every], axis=1)
        total = sum(2 ** -model.bigram_bits(pair) for pair in pairs)
        assert total == pytest.approx(1, rel=1e-12)


def test_a_track_costs_what_its_tokens_cost():
    model = model_of(np.array([0, 1, 0, 1, 1, 2], np.uint16), 4)
    # Add ½: (2.5, 3.5, 1.5, 0.5) / 8.
    assert model.unigram_bits(np.array([3, 1], np.uint16)) == pytest.approx(
        4 - np.log2(3.5 / 8), rel=1e-12
    )
    # 01 twice, 10, 11 and 12 once: d = 3 / (3 + 2). After 1 come 3 pairs, all different.
    prob = 0.4 / 3 + 0.6 * 3 / 3 * (2.5 / 8)
    assert model.bigram_bits(np.array([1, 0], np.uint16)) == pytest.approx(-np.log2(prob))
    assert model.bigram_bits(np.array([1], np.uint16)) == 0.0


def test_a_new_pair_has_a_price_where_every_pair_was_seen_often():
    model = model_of(np.array([0, 1, 0, 1, 0, 1, 0], np.uint16), 4)  # 01 and 10 three times each
    # d = ½: of n_0 = 3, one half is left for what has not followed 0 yet.
    prob = 0.5 / 3 * (0.5 / 9)
    assert model.bigram_bits(np.array([0, 3], np.uint16)) == pytest.approx(-np.log2(prob))


def test_counts_of_the_rest():
    tokens = np.random.default_rng(0).integers(0, 5, (2, 50)).astype(np.uint16)
    both = CodeCounts(5)
    for row in tokens:
        both.add(row)
    rest, second = both.without(counts_of(tokens[0], 5)), counts_of(tokens[1], 5)
    np.testing.assert_array_equal(rest.pairs_VxV, second.pairs_VxV)
    np.testing.assert_array_equal(rest.codes_V, second.codes_V)
