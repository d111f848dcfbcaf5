"""Whole samples of the toy distribution, whose exact score is known."""

import functools

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


def sample_toy(graph, noise, name, steps, num_samples, num_rows=20) -> jax.Array:
    log_score_fn = toy.log_score_fn(graph)

    @jax.jit
    def sample(key_B):
        x_BxL = sampler.start(graph, key_B, 3 * num_samples // num_rows)
        x_BxL = sampler.sample_chunk(
            name, graph, noise, log_score_fn, key_B, x_BxL, first=0, num=steps, steps=steps
        )
        return sampler.denoise_step(graph, noise, log_score_fn, key_B, x_BxL, steps=steps)

    # A faster generator than threefry: a minute of this test would go into random numbers.
    return sample(jax.random.split(jax.random.key(1, impl="rbg"), num_rows))


@pytest.mark.parametrize(("graph", "noise", "name"), TOY_CASES)
def test_samples_approach_the_truth_as_steps_grow(graph, noise, name):
    distance = []
    for steps in (4, 16, 64, 256):
        num_samples = SAMPLES if steps == 256 else SAMPLES // 4
        x_BxL = sample_toy(graph, noise, name, steps, num_samples)
        distance.append(np.abs(toy.histogram(x_BxL) - toy.joint()).sum() / 2)
    assert all(later < earlier for earlier, later in zip(distance, distance[1:], strict=False))
    assert distance[-1] < 0.02


@pytest.mark.parametrize(("graph", "noise", "name"), TOY_CASES[::3])
def test_a_sample_depends_on_its_key_alone_and_not_on_chunks(graph, noise, name):
    log_score_fn, key_B, steps = toy.log_score_fn(graph), jax.random.split(jax.random.key(0), 8), 8
    start = jax.jit(lambda key_B: sampler.start(graph, key_B, 30))
    denoise = functools.partial(sampler.denoise_step, graph, noise, log_score_fn, steps=steps)

    @functools.partial(jax.jit, static_argnames="num")
    def chunk(key_B, x_BxL, first, num):
        return sampler.sample_chunk(
            name, graph, noise, log_score_fn, key_B, x_BxL, first=first, num=num, steps=steps
        )

    def sample(key_B, num):
        x_BxL = start(key_B)
        for first in range(0, steps, num):
            x_BxL = chunk(key_B, x_BxL, first, num)
        return jax.jit(denoise)(key_B, x_BxL)

    whole = sample(key_B, 8)
    np.testing.assert_array_equal(sample(key_B, 2), whole)
    np.testing.assert_array_equal(sample(key_B[3:4], 8), whole[3:4])
    assert len(np.unique(whole, axis=0)) == 8
