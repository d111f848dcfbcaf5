"""Baselines against values worked out by hand, and the choice of their free numbers."""

import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.likelihood import baselines

# a b a b c over K = 4 codes; pairs ab 2, ba 1, bc 1.
TRACK = np.array([0, 1, 0, 1, 2], np.uint16)


def test_counts_by_hand():
    counts = baselines.count_pairs([TRACK], 4)
    np.testing.assert_array_equal(counts.tokens_K, [2, 2, 1, 0])
    np.testing.assert_array_equal(counts.outgoing_K, [2, 2, 0, 0])
    np.testing.assert_array_equal(counts.followers_K, [1, 2, 0, 0])
    np.testing.assert_array_equal(counts.continuations_K, [1, 1, 1, 0])
    a, b = np.array([0, 1, 1, 0, 3]), np.array([1, 0, 2, 0, 3])
    np.testing.assert_array_equal(counts.pairs(a, b), [2, 1, 1, 0, 0])


def test_pairs_do_not_cross_tracks():
    counts = baselines.count_pairs([np.array([0, 1]), np.array([2, 3])], 4)
    assert counts.pairs(np.array([1]), np.array([2])) == 0


def test_unigram_by_hand():
    unigram = baselines.Unigram(baselines.add_alpha(np.array([2, 2, 1, 0]), 0.5), 0.5)
    np.testing.assert_allclose(unigram.probs_K, np.array([2.5, 2.5, 1.5, 0.5]) / 7)
    np.testing.assert_allclose(unigram.bits(np.array([[0, 3]])), -np.log2([[2.5 / 7, 0.5 / 7]]))


def test_bigram_by_hand():
    counts = baselines.count_pairs([TRACK], 4)
    unigram = baselines.Unigram(counts.base("tokens", 1.0), 1.0)  # (3, 3, 2, 1) / 9
    bigram = baselines.Bigram(counts, "tokens", unigram.probs_K, 0.5, 2.0, unigram)
    # p(c | b) = [(1 − 0.5) + (2 + 0.5·2)·2/9] / (2 + 2); p(d | b) = 3·(1/9) / 4; p(a | d) = q(a)
    np.testing.assert_allclose(
        bigram.prob(np.array([1, 1, 3]), np.array([2, 3, 0])), [7 / 24, 1 / 12, 3 / 9]
    )
    np.testing.assert_allclose(bigram.bits(np.array([[1, 2]])), -np.log2([[3 / 9, 7 / 24]]))
    # A token with which a track begins is priced like the first one, whatever stands before it.
    begun_WxL = bigram.bits(np.array([[1, 2], [1, 2]]), begin_W=np.array([0, 1]))
    np.testing.assert_allclose(begun_WxL[0], -np.log2([3 / 9, 7 / 24]))
    assert begun_WxL[1, 1] == pytest.approx(-np.log2(2 / 9))


@pytest.mark.parametrize("discount, concentration", [(0.0, 3.0), (0.7, 0.0), (0.7, 30.0)])
def test_bigram_is_a_distribution(discount, concentration):
    tracks = [np.random.default_rng(0).integers(0, 9, 40)]
    counts = baselines.count_pairs(tracks, 10)
    q_K = counts.base("continuations", 0.1)
    unigram = baselines.Unigram(q_K, 0.1)
    bigram = baselines.Bigram(counts, "continuations", q_K, discount, concentration, unigram)
    a, b = np.divmod(np.arange(100), 10)  # includes the context 9, never seen
    np.testing.assert_allclose(bigram.prob(a, b).reshape(10, 10).sum(1), 1.0)


def markov_tracks(seed: int, num_tracks: int, length: int, stay: float) -> list[np.ndarray]:
    """Tracks in which b = a + 1 mod 8 with probability `stay`, else uniform over 8 codes."""
    rng = np.random.default_rng(seed)
    tracks = []
    for _ in range(num_tracks):
        track = [int(rng.integers(8))]
        for _ in range(length - 1):
            track.append((track[-1] + 1) % 8 if rng.random() < stay else int(rng.integers(8)))
        tracks.append(np.array(track, np.uint16))
    return tracks


def test_given_that_a_token_is_known_the_known_ones_share_all_probability():
    tracks = [np.random.default_rng(0).integers(0, 5, 400)]
    unigram, bigram = baselines.fit(tracks, 5)
    pairs_Nx2 = np.array([(a, b) for a in range(5) for b in range(3)])  # a may be unknown
    for bits_NxL in (unigram.bits(pairs_Nx2, 3), bigram.bits(pairs_Nx2, below=3)):
        np.testing.assert_allclose(np.exp2(-bits_NxL[:, 1]).reshape(5, 3).sum(1), 1.0)
    gain_Nx2 = bigram.bits(pairs_Nx2) - bigram.bits(pairs_Nx2, below=3)
    assert (gain_Nx2[:, 1] > 0.3).all()  # about log2(5 / 3)
    np.testing.assert_allclose(gain_Nx2[:3, 1], gain_Nx2[0, 1])


def test_fit_approaches_the_entropy_of_a_markov_chain():
    unigram, bigram = baselines.fit(markov_tracks(0, 20, 500, stay=0.9), 8)
    held = np.stack(markov_tracks(1, 20, 500, stay=0.9))
    p_next, p_other = 0.9 + 0.1 / 8, 0.1 / 8
    entropy_rate = -p_next * np.log2(p_next) - 7 * p_other * np.log2(p_other)
    assert abs(unigram.bits(held).mean() - 3.0) < 0.01
    assert abs(bigram.bits(held)[:, 1:].mean() - entropy_rate) < 0.03


def test_smoothing_grows_when_tracks_differ():
    """Repetition within a track must not pass for knowledge of other tracks."""
    rng = np.random.default_rng(0)
    own = [np.tile(rng.integers(0, 64, 8), 40) for _ in range(10)]
    shared = [np.tile(np.arange(8), 40) for _ in range(10)]
    costs = []
    for tracks in (own, shared):
        _, bigram = baselines.fit(tracks, 64)
        fresh = np.arange(64)[None]
        costs.append(bigram.bits(fresh)[0, 20:].mean())
    # Were every track its own tune, an unseen pair costs little more than a uniform code, 6 bits.
    assert costs[0] < 7.0
    assert costs[1] > 9.0


@pytest.mark.parametrize("num_tracks", [1, 2, 7])
def test_fit_with_few_tracks(num_tracks):
    unigram, bigram = baselines.fit(markov_tracks(0, num_tracks, 50, stay=0.5), 12)
    unseen = np.array([[11, 10, 9]])
    assert np.isfinite(unigram.bits(unseen)).all() and np.isfinite(bigram.bits(unseen)).all()


def test_no_pair_is_an_error():
    with pytest.raises(UserError, match="at least two tokens"):
        baselines.fit([np.array([1]), np.array([2])], 4)
