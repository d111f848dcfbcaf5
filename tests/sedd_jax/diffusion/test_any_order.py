import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.any_order import any_order_nats
from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.noise import Geometric, LogLinear, masked_share_sigma
from tests.sedd_jax.diffusion import toy

GRAPH = Absorbing(toy.NUM_CODES)
LOG_LINEAR = LogLinear()
ROWS, TRIPLES = 256, 20


def cost(is_charged, is_known, *, noise=LOG_LINEAR, rows=ROWS, log_score_fn=None):
    """Estimates, (rows,), and the exact −log p, likewise, of triples of which some is charged."""
    x0_BxL = toy.draw(np.random.default_rng(0), (rows, 3 * TRIPLES))
    nats_B = jax.jit(
        functools.partial(
            any_order_nats, log_score_fn or toy.log_score_fn(GRAPH), GRAPH, noise, num_levels=8
        )
    )(
        x0_BxL,
        jnp.broadcast_to(jnp.tile(jnp.array(is_charged), TRIPLES), x0_BxL.shape),
        jnp.broadcast_to(jnp.tile(jnp.array(is_known), TRIPLES), x0_BxL.shape),
        jax.random.split(jax.random.key(0), rows),
    )
    triples = x0_BxL.reshape(rows, TRIPLES, 3)
    p = toy.joint()
    absent = tuple(i for i in range(3) if not is_charged[i] and not is_known[i])
    uncharged = tuple(i for i in range(3) if not is_known[i])
    both, given = p.sum(absent, keepdims=True), p.sum(uncharged, keepdims=True)

    def at(table):
        index = [np.zeros_like(triples[..., i]) if table.shape[i] == 1 else triples[..., i]
                 for i in range(3)]  # fmt: skip
        return table[tuple(index)]

    return np.asarray(nats_B), -np.log(at(both) / at(given)).sum(-1)


@pytest.mark.parametrize(
    ("is_charged", "is_known"),
    [
        ((True, True, True), (False, False, False)),
        ((False, True, True), (True, False, False)),
        ((False, True, False), (True, False, True)),
        ((False, True, True), (False, False, False)),  # the first is absent
    ],
)
@pytest.mark.parametrize("noise", [LOG_LINEAR, Geometric(1e-4, 20.0)])
def test_exact_scores_cost_what_the_tokens_do(is_charged, is_known, noise):
    nats_B, exact_B = cost(is_charged, is_known, noise=noise)
    error_B = nats_B - exact_B
    standard_error = error_B.std(ddof=1) / np.sqrt(ROWS)
    assert abs(error_B.mean()) < 4 * standard_error + 1e-5
    assert standard_error < 0.02 * exact_B.mean()


def test_wrong_scores_cost_more():
    wrong = toy.log_score_fn(GRAPH, power=0.5)
    nats_B, exact_B = cost((False, True, True), (True, False, False), log_score_fn=wrong)
    excess_B = nats_B - exact_B
    assert excess_B.mean() > 4 * excess_B.std(ddof=1) / np.sqrt(ROWS)


def test_an_estimate_depends_on_its_own_key_and_nothing_charged_costs_nothing():
    together, _ = cost((False, True, True), (True, False, False), rows=4)
    alone, _ = cost((False, True, True), (True, False, False), rows=2)
    np.testing.assert_allclose(together[:2], alone, rtol=1e-5)
    free, _ = cost((False, False, False), (True, False, True), rows=2)
    np.testing.assert_array_equal(free, 0.0)


def test_the_network_is_told_the_noise_of_the_share_that_is_masked():
    """One token of four is charged, another one absent: half is masked."""

    def log_score_fn(x_BxL, sigma_B):
        logit_BxLxV = jnp.zeros((*x_BxL.shape, GRAPH.vocab_size))
        return logit_BxLxV.at[..., 0].set(sigma_B[:, None])

    nats_B = any_order_nats(
        log_score_fn, GRAPH, LOG_LINEAR, jnp.zeros((1, 4), jnp.int32),
        jnp.array([[True, False, False, False]]), jnp.array([[False, True, True, False]]),
        jax.random.split(jax.random.key(0), 1), num_levels=2,
    )  # fmt: skip
    np.testing.assert_allclose(nats_B, [np.log(2 + 3) - np.log(2)], rtol=1e-5)


def test_the_noise_of_a_masked_share_is_that_at_which_such_a_share_is_masked():
    for noise in (LogLinear(), Geometric(1e-4, 20.0)):
        share = np.array([0.1, 0.5, 0.9])
        sigma = masked_share_sigma(noise, jnp.array(share))
        np.testing.assert_allclose(-np.expm1(-np.asarray(sigma)), share, rtol=1e-5)
        low, high = noise(jnp.array([1e-3, 1.0])).sigma
        np.testing.assert_array_equal(masked_share_sigma(noise, jnp.array([0.0, 1.0])), [low, high])
