"""Every sampler given the exact answer as each parametrisation has it: one law, and one sample.

The draws of a row are its key's, so that equal laws give equal samples, but for draws that lie
within rounding of their threshold.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion import sampler
from sedd_jax.diffusion.any_order import any_order_nats
from sedd_jax.diffusion.choices import PARAMETRISATIONS, TRAITS
from sedd_jax.diffusion.draws import Draws
from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.guidance import Guided
from sedd_jax.diffusion.known import Known
from sedd_jax.diffusion.noise import Geometric
from sedd_jax.diffusion.parametrisation import make_parametrisation
from tests.sedd_jax.diffusion import toy

NAMES = [name for name, graphs in PARAMETRISATIONS.items() if "absorbing" in graphs]
GRAPH, NOISE, ROWS, STEPS = Absorbing(toy.NUM_CODES), Geometric(1e-3, 10.0), 300, 4
TOLD = make_parametrisation("masked", GRAPH, scale_by_sigma=False)


def outputs(name, x_BxL, sigma_B):
    """The exact outputs of two networks, the toy's and one of independent positions, (B, L, V).

    What the softmax leaves free is anything: a number at each position, and the mask's own.
    """
    if name == "conditional":
        sigma_B = jnp.ones_like(sigma_B)  # it is told no time
    code_V, place_L = jnp.arange(GRAPH.vocab_size), jnp.arange(x_BxL.shape[1])
    independent_LxV = jnp.sin(3.0 * code_V[None, :] + place_L[:, None] % 3)
    independent_BxLxV = jnp.broadcast_to(independent_LxV, (*x_BxL.shape, len(code_V)))
    pair = (
        toy.log_score_fn(GRAPH)(x_BxL, sigma_B),
        TOLD.log_score(independent_BxLxV, x_BxL, sigma_B),
    )
    if name == "score_entropy":
        return pair
    free_LxV = jnp.where(code_V[None, :] == GRAPH.mask_id, 200.0, jnp.sin(place_L)[:, None])
    return tuple(output_BxLxV + free_LxV[None] for output_BxLxV in pair)


def pair_fn(name, x_BxL, sigma_B):
    """The log-scores of both, as `name` reads them."""
    parametrisation = make_parametrisation(name, GRAPH, scale_by_sigma=False)
    return tuple(
        parametrisation.log_score(output_BxLxV, x_BxL, sigma_B)
        for output_BxLxV in outputs(name, x_BxL, sigma_B)
    )


@functools.partial(jax.jit, static_argnums=0)
def draw(sampler_name, index, weight, known, draws):
    """Samples (B, 3) by the parametrisation of an index, guided, given what is known."""

    def score_fn(x_BxL, sigma_B):
        branches = [functools.partial(pair_fn, name) for name in NAMES]
        return jax.lax.switch(index, branches, x_BxL, sigma_B)

    key_B = jax.random.split(jax.random.key(0), ROWS)
    args = (sampler_name, GRAPH, NOISE, Guided(score_fn, lambda t: weight), key_B)
    options = {"steps": STEPS, "known": known, "draws": draws}
    x_BxL = sampler.start(GRAPH, key_B, 3)
    drawn = sampler.sample_chunk(*args, x_BxL, first=0, num=STEPS, **options)
    return sampler.finish(*args, drawn.x_BxL, **options).x_BxL


@pytest.mark.parametrize("sampler_name", TRAITS)
def test_all_parametrisations_draw_the_same_samples(sampler_name):
    tokens_BxL = toy.draw(np.random.default_rng(0), (ROWS, 3))
    some_BxL = np.arange(ROWS)[:, None] % 3 == np.array([[0, 5, 1]])  # one of 1 and 3, or nothing
    seen = []
    for weight, temperature, is_known_BxL in (
        (1.0, 1.0, np.zeros_like(some_BxL)),
        (2.5, 1.0, some_BxL),
        (0.5, 0.6, some_BxL),
    ):
        known = Known(tokens_BxL, is_known_BxL)
        draws = Draws(jnp.float32(temperature), None, jnp.float32(0.95))
        settings = (jnp.float32(weight), known, draws)
        first, *others = (np.asarray(draw(sampler_name, i, *settings)) for i in range(len(NAMES)))
        assert first.max() < toy.NUM_CODES and len(np.unique(first, axis=0)) > 2
        np.testing.assert_array_equal(first[is_known_BxL], tokens_BxL[is_known_BxL])
        for other in others:
            assert (first == other).all(-1).mean() > 0.98
        seen.append(first)
    assert (seen[0] != seen[1]).any() and (seen[1] != seen[2]).any()


def test_all_parametrisations_say_the_same_of_tokens_given_others():
    x0_BxL = jnp.asarray(toy.draw(np.random.default_rng(1), (20, 12)))
    is_known_BxL = jnp.arange(12)[None] % 3 == jnp.arange(20)[:, None] % 3
    key_B = jax.random.split(jax.random.key(1), 20)

    @functools.partial(jax.jit, static_argnums=0)
    def nats(name):
        def log_score_fn(x_BxL, sigma_B):
            return pair_fn(name, x_BxL, sigma_B)[0]

        args = (log_score_fn, GRAPH, NOISE, x0_BxL, ~is_known_BxL, is_known_BxL, key_B)
        return any_order_nats(*args, num_levels=4)

    first, *others = map(nats, NAMES)
    assert 0.05 < float(first.mean()) / 8 < 1.4  # nats a token
    for other in others:
        np.testing.assert_allclose(other, first, rtol=1e-4)
