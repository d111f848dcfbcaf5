"""Statistics of codes on sequences whose answer is known."""

import numpy as np
import pytest

from tokenizer_bridge.codec_training import code_statistics


def test_perplexity_and_use_of_known_counts():
    clips = [np.array([0, 0, 1, 1]), np.array([2, 2, 3, 3])]
    assert code_statistics.perplexity_and_use(clips, 16) == pytest.approx((4.0, 0.25))
    assert code_statistics.perplexity_and_use([np.zeros(8, int)], 16) == (1.0, 1 / 16)


def test_repeats_within_clips_only():
    assert code_statistics.repeats([np.array([1, 1, 2]), np.array([2, 2])]) == pytest.approx(2 / 3)


def test_bits_of_a_cycle_and_of_chance():
    cycle = [np.tile(np.arange(16), 200)]
    unigram, bigram = code_statistics.bits_per_code(cycle, cycle, 16)
    assert unigram == pytest.approx(4, abs=0.01) and bigram < 0.05
    rng = np.random.default_rng(0)
    chance = [rng.integers(16, size=20_000) for _ in range(2)]
    assert code_statistics.bits_per_code(chance[:1], chance[1:], 16)[1] == pytest.approx(4, abs=0.1)


def test_codes_never_seen_before_have_finite_bits():
    train, held_out = [np.array([0, 1, 0, 1, 0])], [np.array([0, 0])]
    _, bigram = code_statistics.bits_per_code(train, held_out, 8)
    assert bigram == pytest.approx(-np.log2(0.75 / 2 * 4 / 13))  # a pair never seen
    train, held_out = [np.array([0, 1, 0, 1])], [np.array([5, 6, 7])]
    unigram, bigram = code_statistics.bits_per_code(train, held_out, 8)
    assert unigram == pytest.approx(np.log2(12)) and bigram == pytest.approx(np.log2(12))
