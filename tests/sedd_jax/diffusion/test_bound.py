import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.bound import bound_terms
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.noise import Geometric, LogLinear
from tests.sedd_jax.diffusion import toy

CASES = [
    (Absorbing(toy.NUM_CODES), LogLinear()),
    (Uniform(toy.NUM_CODES), LogLinear()),
    (Uniform(toy.NUM_CODES), Geometric(1e-4, 20.0)),
]


@functools.partial(jax.jit, static_argnames=("graph", "noise"))
def toy_bound(graph, noise, power, x0_BxL, key_B):
    log_score_fn = toy.log_score_fn(graph, power)
    return bound_terms(log_score_fn, graph, noise, x0_BxL, key_B, num_t=64).total_B


def excess_bits(graph, noise, power, num_rows=64, length=1500):
    """Bound less -log p(x0), bits a token: mean and standard error over rows of toy data."""
    x0_BxL = toy.draw(np.random.default_rng(1), (num_rows, length))
    key_B = jax.random.split(jax.random.key(2), num_rows)
    bound_B = np.asarray(toy_bound(graph, noise, power, x0_BxL, key_B))
    log_p = np.log(toy.joint())[tuple(x0_BxL.reshape(-1, 3).T)]
    excess_B = (bound_B + log_p.reshape(num_rows, -1).sum(-1)) / np.log(2) / length
    return excess_B.mean(), excess_B.std(ddof=1) / np.sqrt(num_rows)


@pytest.mark.parametrize(("graph", "noise"), CASES)
def test_bound_meets_the_truth_with_the_exact_score_and_exceeds_it_with_another(graph, noise):
    excess, error = excess_bits(graph, noise, 1.0)
    assert error < 0.005  # of an entropy of 1.03 bits a token
    assert abs(excess) < 3 * error
    for power in (0.7, 1.4):
        excess, error = excess_bits(graph, noise, power)
        assert excess > 0.05 + 3 * error


@pytest.mark.parametrize(("graph", "noise"), CASES)
def test_the_charge_of_some_positions_is_a_bound_given_the_others(graph, noise):
    num_rows, length = 64, 600
    x0_BxL = toy.draw(np.random.default_rng(1), (num_rows, length))
    key_B = jax.random.split(jax.random.key(2), num_rows)
    log_score_fn = toy.log_score_fn(graph, 1.0)
    is_last_BxL = np.broadcast_to(np.arange(length)[None] % 3 == 2, x0_BxL.shape)

    @jax.jit
    def bound(counts_BxL):
        bound = bound_terms(
            log_score_fn, graph, noise, x0_BxL, key_B, num_t=16, counts_BxL=counts_BxL
        )
        return bound.total_B, (bound.diffusion_B, bound.prior_B, bound.reconstruction_B)

    last_B, last = bound(is_last_BxL)
    _, others = bound(~is_last_BxL)
    _, whole = bound(np.ones_like(is_last_BxL))
    for part_B, rest_B, whole_B in zip(last, others, whole, strict=True):
        np.testing.assert_allclose(part_B + rest_B, whole_B, rtol=1e-4, atol=1e-9)
    joint = toy.joint()
    conditional = joint / joint.sum(-1, keepdims=True)
    log_p_B = np.log(conditional)[tuple(x0_BxL.reshape(-1, 3).T)].reshape(num_rows, -1).sum(-1)
    excess_B = np.asarray(last_B) + log_p_B
    error = excess_B.std(ddof=1) / np.sqrt(num_rows)
    assert excess_B.mean() > 3 * error
    # What is read beside them is noised, so they cost more; but less than when nothing is read.
    marginal = np.log(joint.sum((0, 1)))[x0_BxL.reshape(-1, 3)[:, 2]].reshape(num_rows, -1).sum(-1)
    assert (np.asarray(last_B) + marginal).mean() < 0


def test_bound_is_nothing_where_the_data_are_certain():
    graph, noise = Absorbing(5), LogLinear()

    def certain(x_BxL, sigma_B):
        log_score_V = jnp.where(jnp.arange(graph.vocab_size) == 3, 0.0, -100.0)
        log_score_BxLxV = log_score_V[None, None] - jnp.log(jnp.expm1(sigma_B))[:, None, None]
        here_BxLxV = jax.nn.one_hot(x_BxL, graph.vocab_size, dtype=bool)
        return jnp.where(here_BxLxV, 0.0, log_score_BxLxV)

    key_B = jax.random.split(jax.random.key(0), 4)
    bound = bound_terms(certain, graph, noise, jnp.full((4, 50), 3), key_B, num_t=8)
    np.testing.assert_allclose(bound.total_B, 0.0, atol=0.01)
    # A sequence that the model holds impossible costs much, and no more than a number can hold.
    bound = bound_terms(certain, graph, noise, jnp.full((4, 50), 2), key_B, num_t=8)
    assert np.all(bound.total_B > 1000) and np.all(np.isfinite(bound.total_B))


def test_a_step_clamped_to_zero_leaves_the_bound_finite():
    graph, noise, num = Uniform(8), Geometric(1e-4, 20.0), 20_000

    def lopsided(x_BxL, sigma_B):
        """Code 0 has a score so large that the posteriors of all others are clamped to zero."""
        zero_BxLxV = jnp.zeros((*x_BxL.shape, graph.vocab_size))
        return jnp.where(jnp.arange(8)[None, None] == 0, 20.0, zero_BxLxV)

    bound = bound_terms(
        lopsided, graph, noise, jnp.full((1, num), 3), jax.random.split(jax.random.key(0), 1),
        num_t=1,
    )  # fmt: skip
    assert np.isfinite(bound.reconstruction_B[0]) and bound.reconstruction_B[0] > 10 * num


def test_the_pinned_process_ends_in_the_limit_and_the_free_one_at_a_known_distance():
    noise, last_sigma = LogLinear(), LogLinear()(jnp.ones(()))[0]
    t_B = jnp.array([1e-5, 0.25, 1.0])
    pinned_B = Absorbing(5).pinned_sigma(noise(t_B).sigma, last_sigma)
    np.testing.assert_allclose(-jnp.expm1(-pinned_B), t_B, rtol=1e-5)
    assert Absorbing(5).prior_kl(last_sigma) == 0

    for sigma in (0.1, 2.0):
        p = np.full(7, (1 - np.exp(-sigma)) / 7)
        p[0] += np.exp(-sigma)
        kl = (p * np.log(p * 7)).sum()
        np.testing.assert_allclose(Uniform(7).prior_kl(jnp.float32(sigma)), kl, rtol=1e-4)


def test_a_rows_estimate_depends_on_its_key_alone():
    graph, noise = CASES[0]
    x0_BxL = toy.draw(np.random.default_rng(0), (4, 30))
    key_B = jax.random.split(jax.random.key(0), 4)
    together, alone = (
        bound_terms(toy.log_score_fn(graph), graph, noise, x0_BxL[rows], key_B[rows], num_t=4)
        for rows in (slice(0, 4), slice(2, 3))
    )
    np.testing.assert_allclose(together.total_B[2:3], alone.total_B, rtol=1e-5)
