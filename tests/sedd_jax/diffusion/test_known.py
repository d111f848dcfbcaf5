"""Sampling given known positions, on the toy distribution whose exact score is known."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion import sampler
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.guidance import Guided
from sedd_jax.diffusion.known import Known, at_masked_share
from sedd_jax.diffusion.loss import MIN_T
from sedd_jax.diffusion.noise import Geometric, LogLinear
from tests.sedd_jax.diffusion import toy

ABSORBING, UNIFORM = Absorbing(toy.NUM_CODES), Uniform(toy.NUM_CODES)
# Which positions of a triple are known: one or two of them, a row each.
PATTERNS_Rx3 = np.array([p for p in itertools.product([False, True], repeat=3) if 0 < sum(p) < 3])


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 4))
def complete(graph, noise, name, known_RxL, steps, key_R):
    """The samples x_RxL, a row after the other."""
    log_score_fn = toy.log_score_fn(graph)

    def complete_row(key_and_known):
        key_1, known_1xL = jax.tree.map(lambda x: x[None], key_and_known)
        x_1xL = sampler.start(graph, key_1, known_1xL.length)
        args = (graph, noise, log_score_fn, key_1)
        drawn = sampler.sample_chunk(
            name, *args, x_1xL, first=0, num=steps, steps=steps, known=known_1xL
        )
        return sampler.finish(name, *args, drawn.x_BxL, steps=steps, known=known_1xL).x_BxL[0]

    return jax.lax.map(complete_row, (key_R, known_RxL))


def distances(graph, noise, name, *, steps, samples, sweeps=1) -> np.ndarray:
    """Total variation between the conditional law of samples and the true one, of each pattern,
    (R,): the mean over known tokens from the toy. Chance alone makes it `chance`."""
    tokens_RxL = toy.draw(np.random.default_rng(0), (len(PATTERNS_Rx3), 3 * samples))
    is_known_RxL = np.tile(PATTERNS_Rx3, (1, samples))
    known = Known(tokens_RxL, is_known_RxL, sweeps=sweeps)
    x_RxL = complete(
        graph, noise, name, known, steps, jax.random.split(jax.random.key(1), len(tokens_RxL))
    )
    assert (np.asarray(x_RxL) == tokens_RxL)[is_known_RxL].all()
    result = []
    for x_L, is_known_3 in zip(x_RxL, PATTERNS_Rx3, strict=True):
        drawn, true = toy.histogram(x_L), toy.joint()
        others = tuple(np.nonzero(~is_known_3)[0])
        given = drawn.sum(others, keepdims=True) / true.sum(others, keepdims=True)
        result.append(np.abs(drawn - given * true).sum() / 2)
    return np.array(result)


def chance(samples: int) -> float:
    """The total variation to be expected between the toy and the histogram of so many triples."""
    p = toy.joint()
    return np.sqrt(p * (1 - p) / samples * 2 / np.pi).sum() / 2


@pytest.mark.parametrize(
    ("noise", "name"), [(LogLinear(), "euler"), (Geometric(1e-4, 20.0), "analytic")]
)
def test_absorbing_draws_the_others_from_their_law_given_the_known(noise, name):
    distance_R = distances(ABSORBING, noise, name, steps=64, samples=5_000)
    assert distance_R.mean() < chance(5_000) < 0.026 and distance_R.max() < 1.5 * chance(5_000)


def test_uniform_is_biased_and_sweeps_make_the_bias_smaller():
    once, often = (
        distances(UNIFORM, LogLinear(), "analytic", steps=32, samples=500, sweeps=sweeps)
        for sweeps in (1, 8)
    )
    assert 0.25 < once.max() < 0.4  # with two unknown positions; with one it is a third
    assert (often < 0.75 * once).all() and often.max() < 0.15


@pytest.mark.parametrize("is_guided", [False, True])
@pytest.mark.parametrize("noise", [LogLinear(), Geometric(1e-4, 20.0)])
@pytest.mark.parametrize("name", ["euler", "analytic"])
def test_a_step_unmasks_as_many_as_the_schedule_demands(name, noise, is_guided):
    """The network hears of another noise level, the rates do not."""
    log_score_fn, steps, num = toy.log_score_fn(ABSORBING), 16, 30_000
    if is_guided:
        score_fn = log_score_fn
        log_score_fn = Guided(lambda *args: (score_fn(*args),) * 2, lambda t: jnp.float32(2.0))
    tokens_1xL = toy.draw(np.random.default_rng(0), (1, num))
    is_known_1xL = np.arange(num)[None] % 4 > 0  # the masked share is a quarter at most

    @jax.jit
    def step(key_1, first):
        known = Known(tokens_1xL, is_known_1xL)
        return sampler.sample_chunk(
            name, ABSORBING, noise, log_score_fn, key_1, sampler.start(ABSORBING, key_1, num),
            first=first, num=1, steps=steps, known=known,
        ).x_BxL  # fmt: skip

    for first in (0, 4, 12, 15):
        x_1xL = np.asarray(step(jax.random.split(jax.random.key(first), 1), first))
        t, before = (
            jnp.float32(1e-5 + (1 - 1e-5) * (steps - n) / steps) for n in (first, first + 1)
        )
        sigma, dsigma = noise(t)
        share = (t - before) * dsigma / jnp.expm1(sigma)
        if name == "analytic":
            share = 1 - jnp.expm1(-noise(before).sigma) / jnp.expm1(-sigma)
        masks = (~is_known_1xL).sum()
        unmasked = masks - (x_1xL == ABSORBING.mask_id).sum()
        assert abs(unmasked - masks * share) < 4 * np.sqrt(masks * share * (1 - share)) + 1e-3


def test_the_network_is_told_the_share_of_masks_that_it_sees():
    noise, length, mask = LogLinear(), 8, ABSORBING.mask_id
    x_BxL = np.array([[mask] * m + [1] * (length - m) for m in (0, 2, 8, 2)])
    told = []

    def score_fn(x_BxL, sigma_B):
        told.append(sigma_B)
        log_score_BxLxV = 0.5 - jnp.log(jnp.expm1(sigma_B))[:, None, None] * jnp.ones(
            (1, length, mask + 1)
        )
        return log_score_BxLxV, log_score_BxLxV + 1

    sigma_B = jnp.full(4, 0.25)
    is_given_B = np.array([True, True, True, False])
    pair = at_masked_share(mask, noise, score_fn, is_given_B)(x_BxL, sigma_B)
    expected = [
        noise(jnp.float32(MIN_T)).sigma,
        -np.log(1 - 2 / 8),
        noise(jnp.ones(())).sigma,
        0.25,
    ]
    np.testing.assert_allclose(told[0], expected, rtol=1e-6)
    is_here = x_BxL[..., None] == np.arange(mask + 1)
    for extra, log_score_BxLxV in enumerate(pair):  # at the noise that was asked for, all alike
        level = np.broadcast_to(0.5 + extra - np.log(np.expm1(0.25)), is_here.shape)
        np.testing.assert_allclose(log_score_BxLxV, np.where(is_here, 0, level), atol=1e-5)


def test_a_known_that_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="time must be one of"):
        Known(np.zeros((1, 3)), np.zeros((1, 3), bool), time="now")
    with pytest.raises(ValueError, match="sweeps must be at least 1"):
        Known(np.zeros((1, 3)), np.zeros((1, 3), bool), sweeps=0)
