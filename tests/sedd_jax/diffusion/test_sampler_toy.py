"""Whole samples of the toy distribution, whose exact score is known."""

import functools
import itertools

import jax
import numpy as np
import pytest

from sedd_jax.diffusion import sampler
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.noise import Geometric, LogLinear
from tests.sedd_jax.diffusion import toy

SAMPLES = 200_000
TOY_CASES = [
    (Absorbing(toy.NUM_CODES), LogLinear(), "euler"),
    (Absorbing(toy.NUM_CODES), Geometric(1e-4, 20.0), "analytic"),
    (Uniform(toy.NUM_CODES), LogLinear(), "euler"),
    (Uniform(toy.NUM_CODES), LogLinear(), "analytic"),
]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def sample_toy(graph, noise, name, key_R, steps) -> jax.Array:
    """x_RxL: `SAMPLES` triples in as many rows as keys, one row after the other."""
    log_score_fn = toy.log_score_fn(graph)

    def sample_row(key):
        key_1 = key[None]

        def four_steps(i, x_1xL):
            return sampler.sample_chunk(
                name, graph, noise, log_score_fn, key_1, x_1xL, first=4 * i, num=4, steps=steps
            ).x_BxL

        x_1xL = sampler.start(graph, key_1, 3 * SAMPLES // len(key_R))
        x_1xL = jax.lax.fori_loop(0, steps // 4, four_steps, x_1xL)
        drawn = sampler.finish(name, graph, noise, log_score_fn, key_1, x_1xL, steps=steps)
        return drawn.x_BxL[0]

    return jax.lax.map(sample_row, key_R)


@pytest.mark.parametrize(("graph", "noise", "name"), TOY_CASES)
def test_samples_approach_the_truth_as_steps_grow(graph, noise, name):
    distance = []
    for steps in (4, 16, 64, 256):
        x_RxL = sample_toy(graph, noise, name, jax.random.split(jax.random.key(1), 10), steps)
        distance.append(np.abs(toy.histogram(x_RxL) - toy.joint()).sum() / 2)
    assert all(later < earlier for earlier, later in itertools.pairwise(distance))
    assert distance[-1] < 0.02


@pytest.mark.parametrize(("graph", "noise", "name"), TOY_CASES[::3])
def test_a_sample_depends_on_its_key_alone_and_not_on_chunks(graph, noise, name):
    log_score_fn, key_B, steps = toy.log_score_fn(graph), jax.random.split(jax.random.key(0), 8), 8
    start = jax.jit(lambda key_B: sampler.start(graph, key_B, 30))
    denoise = functools.partial(sampler.finish, name, graph, noise, log_score_fn, steps=steps)

    @functools.partial(jax.jit, static_argnames="num")
    def chunk(key_B, x_BxL, first, num):
        return sampler.sample_chunk(
            name, graph, noise, log_score_fn, key_B, x_BxL, first=first, num=num, steps=steps
        ).x_BxL

    def sample(key_B, num):
        x_BxL = start(key_B)
        for first in range(0, steps, num):
            x_BxL = chunk(key_B, x_BxL, first, num)
        return jax.jit(denoise)(key_B, x_BxL).x_BxL

    whole = sample(key_B, 8)
    np.testing.assert_array_equal(sample(key_B, 2), whole)
    np.testing.assert_array_equal(sample(key_B[3:4], 8), whole[3:4])
    assert len(np.unique(whole, axis=0)) == 8
