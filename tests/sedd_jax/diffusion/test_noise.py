import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion import sampler
from sedd_jax.diffusion.bound import bound_terms
from sedd_jax.diffusion.choices import MAX_SIGMA
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.loss import dwdse_loss
from sedd_jax.diffusion.noise import EvenShare, Geometric, LogLinear, make_noise

NOISES = [LogLinear(), Geometric(1e-4, 20.0), EvenShare(Geometric(1e-3, 10.0))]


@pytest.mark.parametrize("noise", NOISES)
def test_dsigma_is_the_derivative_of_sigma(noise):
    t = jnp.linspace(0.01, 0.99, 50)
    _, dsigma = noise(t)
    derivative = jax.vmap(jax.grad(lambda t: noise(t).sigma))(t)
    np.testing.assert_allclose(dsigma, derivative, rtol=1e-5)


@pytest.mark.parametrize("noise", NOISES)
def test_a_time_is_found_again_from_its_noise(noise):
    t = jnp.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(noise.time_of(noise(t).sigma), t, rtol=1e-4)


def test_loglinear_moves_a_share_of_the_tokens_that_grows_with_t():
    t = jnp.array([1e-5, 1e-3, 0.5, 1.0])
    np.testing.assert_allclose(-jnp.expm1(-LogLinear()(t)[0]), 0.999 * t, rtol=1e-5)


def test_geometric_runs_from_sigma_min_to_sigma_max():
    sigma, _ = make_noise("geometric", sigma_min=1e-4, sigma_max=20.0)(jnp.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(sigma, [1e-4, np.sqrt(20e-4), 20.0], rtol=1e-5)


def test_bad_noise_is_refused():
    with pytest.raises(ValueError, match="noise.type"):
        make_noise("cosine")
    with pytest.raises(ValueError, match="sigma_min"):
        make_noise("geometric", sigma_min=2.0, sigma_max=1.0)
    with pytest.raises(ValueError, match="sigma_max <= 87, got 0.0001 and 88.0"):
        make_noise("geometric", sigma_max=88.0)


@pytest.mark.parametrize("graph", [Absorbing(30), Uniform(30)])
def test_everything_is_finite_up_to_the_largest_noise_that_is_allowed(graph):
    noise, steps = Geometric(1e-4, MAX_SIGMA), 2
    key_B = jax.random.split(jax.random.key(0), 3)
    x0_BxL = jax.random.randint(jax.random.key(1), (3, 8), 0, 30)
    t_B = jnp.array([0.9, 0.99, 1.0])
    xt_BxL = graph.perturb(key_B, x0_BxL, noise(t_B).sigma)

    def log_score_fn(offset, x_BxL, sigma_B):
        """The scores of a fresh network, and something to learn."""
        here_BxLxV = jnp.arange(graph.vocab_size)[None, None] == x_BxL[..., None]
        ratio_B = jnp.log(jnp.expm1(sigma_B)) if graph == Absorbing(30) else jnp.zeros(3)
        return jnp.where(here_BxLxV, 0.0, offset - ratio_B[:, None, None])

    @jax.jit
    def loss_and_gradient(offset):
        def loss(offset):
            fn = functools.partial(log_score_fn, offset)
            return dwdse_loss(fn, graph, noise, x0_BxL, t_B, xt_BxL).sum()

        return jax.value_and_grad(loss)(offset)

    assert np.isfinite(loss_and_gradient(0.1)).all()
    fn = functools.partial(log_score_fn, 0.1)
    assert np.isfinite(bound_terms(fn, graph, noise, x0_BxL, key_B, num_t=4).total_B).all()
    for name in ("euler", "analytic"):
        x_BxL = sampler.start(graph, key_B, 8)
        drawn = sampler.sample_chunk(
            name, graph, noise, fn, key_B, x_BxL, first=0, num=steps, steps=steps
        )
        assert drawn.is_defined_B.all()
