"""The bound's control variate, on windows of independent codes whose exact scores are known."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.bound import bound_terms
from sedd_jax.diffusion.graph import Absorbing, Graph, Uniform
from sedd_jax.diffusion.noise import LogLinear
from sedd_jax.likelihood.control_variate import _slope, without_shared_error
from sedd_jax.likelihood.elbo import uniform_guess

NUM_CODES, LENGTH, NUM_WINDOWS = 64, 64, 1 << 13
SPLIT = 64  # windows of one split, of which the toys have NUM_WINDOWS / SPLIT


def code_shares(share_of_log_k: float) -> np.ndarray:
    """p (K,), its logarithms on a straight line, with that share of the highest entropy."""
    low, high = 0.0, 50.0
    for _ in range(50):
        middle = (low + high) / 2
        p_K = np.exp(-middle * np.linspace(0, 1, NUM_CODES))
        p_K /= p_K.sum()
        above = -(p_K * np.log(p_K)).sum() > share_of_log_k * math.log(NUM_CODES)
        low, high = (middle, high) if above else (low, middle)
    return p_K


def exact_score(graph: Graph, p_K: np.ndarray) -> Callable:
    """The log-scores of independent codes."""

    def log_score_fn(x_BxL, sigma_B):
        if isinstance(graph, Absorbing):
            log_q_BxV = jnp.log(p_K)[None] - jnp.log(jnp.expm1(sigma_B))[:, None]
            log_q_BxV = jnp.pad(log_q_BxV, ((0, 0), (0, 1)))
            return jnp.broadcast_to(log_q_BxV[:, None], (*x_BxL.shape, graph.vocab_size))
        kept_Bx1 = jnp.exp(-sigma_B)[:, None]
        log_q_BxV = jnp.log(kept_Bx1 * p_K[None] + (1 - kept_Bx1) / len(p_K))
        return log_q_BxV[:, None] - jnp.take_along_axis(log_q_BxV, x_BxL, 1)[..., None]

    return log_score_fn


@functools.cache
def measured(graph: Graph, share: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Nats a token (W,) of the exact scores, the uniform guess's error (W,), and the truth."""
    p_K = code_shares(share)
    x0_WxL = np.random.default_rng(0).choice(NUM_CODES, (NUM_WINDOWS, LENGTH), p=p_K)

    @jax.jit
    def measure(x0_BxL, key_B):
        def nats_B(log_score_fn):
            return bound_terms(log_score_fn, graph, LogLinear(), x0_BxL, key_B, num_t=4).total_B

        return nats_B(exact_score(graph, p_K)), nats_B(uniform_guess(graph))

    keys = jax.random.split(jax.random.key(1), NUM_WINDOWS).reshape(-1, 512)
    parts = [measure(*batch) for batch in zip(x0_WxL.reshape(-1, 512, LENGTH), keys, strict=True)]
    nats_W, guess_W = (
        np.concatenate(values).astype(np.float64) / LENGTH for values in zip(*parts, strict=True)
    )
    truth = -np.log(p_K)[x0_WxL].mean()
    return nats_W, guess_W - math.log(NUM_CODES), truth


def split_means(values_W: np.ndarray) -> np.ndarray:
    return values_W.reshape(-1, SPLIT).mean(1)


@pytest.mark.parametrize("share", [0.66, 0.36])  # entropy over log K: the better, the lower
@pytest.mark.parametrize("graph", [Absorbing(NUM_CODES), Uniform(NUM_CODES)])
def test_the_slope_is_near_the_best_and_biases_nothing(graph, share):
    """By the typical error of a split's bound; squares would be those of a few windows."""
    nats_W, error_W, truth = measured(graph, share)
    key_W = np.arange(SPLIT)
    ours_W = np.concatenate(
        [
            without_shared_error(nats_N, error_N, np.ones(SPLIT), key_W)
            for nats_N, error_N in zip(
                nats_W.reshape(-1, SPLIT), error_W.reshape(-1, SPLIT), strict=True
            )
        ]
    )

    def typical(values_W):
        return np.abs(split_means(values_W) - truth).mean()

    best = min(typical(nats_W - slope * error_W) for slope in np.linspace(0, 1, 51))
    assert typical(ours_W) < 1.2 * best
    assert typical(ours_W) < 0.8 * min(typical(nats_W), typical(nats_W - error_W))
    ours = split_means(ours_W)
    assert abs(ours.mean() - truth) < 3 * ours.std(ddof=1) / len(ours) ** 0.5


def test_a_slope_fitted_to_what_it_corrects_would_be_biased():
    """nats = error² of skewed errors, whose mean is 1: the others' slope leaves it there."""
    rng = np.random.default_rng(0)
    own, others, tokens_W = [], [], np.ones(16)
    for _ in range(2000):
        error_W = rng.exponential(size=16) - 1
        nats_W = error_W**2
        others.append(without_shared_error(nats_W, error_W, tokens_W, np.arange(16)).mean())
        own.append((nats_W - _slope(nats_W, error_W, tokens_W) * error_W).mean())
    standard_error = np.std(others) / len(others) ** 0.5
    assert abs(np.mean(others) - 1) < 3 * standard_error < 0.1
    assert np.mean(own) < 1 - 5 * standard_error


def test_windows_of_equal_noise_are_left_out_together():
    rng = np.random.default_rng(0)
    error_W, key_W = rng.standard_normal(20), rng.permutation(20)
    nats_W, tokens_W = error_W + rng.standard_normal(20), rng.integers(1, 9, 20)
    given = np.stack([nats_W, error_W, tokens_W, key_W])
    once_W = without_shared_error(*given)
    twice_W = without_shared_error(*given.repeat(2, axis=1))
    np.testing.assert_allclose(twice_W, once_W.repeat(2))
    # The order of the windows plays no part.
    turned_W = without_shared_error(*given[:, ::-1])
    np.testing.assert_allclose(turned_W[::-1], once_W)


def test_a_handful_of_windows_takes_the_whole_error_off():
    nats_W, error_W = np.array([5.0, 3.0, 4.0]), np.array([1.0, -1.0, 0.5])
    corrected_W = without_shared_error(nats_W, error_W, np.ones(3), np.arange(3))
    np.testing.assert_array_equal(corrected_W, [4.0, 4.0, 3.5])


def test_windows_of_which_few_tokens_count_tell_their_share():
    """Nats that are 5 a token and 0.3 of the error, to the last digit, whatever the counts."""
    rng = np.random.default_rng(0)
    tokens_W = rng.integers(1, 1000, 30)
    error_W = np.sqrt(tokens_W) * rng.standard_normal(30)
    corrected_W = without_shared_error(
        5 * tokens_W + 0.3 * error_W, error_W, tokens_W, np.arange(30)
    )
    np.testing.assert_allclose(corrected_W, 5 * tokens_W)
