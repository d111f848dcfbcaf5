import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.noise import Geometric, LogLinear, make_noise


@pytest.mark.parametrize("noise", [LogLinear(), Geometric(1e-4, 20.0)])
def test_dsigma_is_the_derivative_of_sigma(noise):
    t = jnp.linspace(0.01, 0.99, 50)
    _, dsigma = noise(t)
    derivative = jax.vmap(jax.grad(lambda t: noise(t)[0]))(t)
    np.testing.assert_allclose(dsigma, derivative, rtol=1e-5)


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
