import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.loss import dwdse_loss
from sedd_jax.diffusion.noise import Geometric
from sedd_jax.diffusion.parametrisation import ScoreEntropy, make_parametrisation, training_loss


def batch(graph, noise, num_rows=3, length=16):
    """(x0_BxL, t_B, x_BxL, output_BxLxV) at three levels of noise."""
    t_B = jnp.linspace(0.2, 0.9, num_rows)
    x0_BxL = jax.random.randint(jax.random.key(0), (num_rows, length), 0, graph.num_codes)
    key_B = jax.random.split(jax.random.key(1), num_rows)
    x_BxL = graph.perturb(key_B, x0_BxL, noise(t_B).sigma)
    shape = (num_rows, length, graph.vocab_size)
    return x0_BxL, t_B, x_BxL, jax.random.normal(jax.random.key(2), shape)


@pytest.mark.parametrize("scale_by_sigma", [True, False])
def test_score_entropy_takes_the_output_for_the_log_score(scale_by_sigma):
    graph, noise = Absorbing(30), Geometric(1e-3, 10.0)
    parametrisation = make_parametrisation("score_entropy", graph, scale_by_sigma=scale_by_sigma)
    x0_BxL, t_B, x_BxL, output_BxLxV = batch(graph, noise)
    sigma_B = noise(t_B).sigma
    found_BxLxV = np.asarray(parametrisation.log_score(output_BxLxV, x_BxL, sigma_B))
    offset_B = np.log(np.expm1(sigma_B) * 30) if scale_by_sigma else np.zeros(3)
    is_here = np.arange(31) == np.asarray(x_BxL)[..., None]
    expected = np.where(is_here, 0, output_BxLxV - offset_B[:, None, None])
    np.testing.assert_allclose(found_BxLxV, expected, atol=1e-5)


@pytest.mark.parametrize("graph", [Absorbing(30), Uniform(30)])
def test_its_training_loss_is_the_score_entropy_that_the_bound_is_made_of(graph):
    noise, parametrisation = Geometric(1e-3, 10.0), ScoreEntropy(graph, scale_by_sigma=True)
    x0_BxL, t_B, x_BxL, output_BxLxV = batch(graph, noise)
    seen = []

    def output_fn(*inputs):
        seen.append(inputs)
        return output_BxLxV

    def log_score_fn(*inputs):
        return parametrisation.log_score(output_BxLxV, *inputs)

    loss_B = training_loss(parametrisation, output_fn, noise, x0_BxL, t_B, x_BxL)
    np.testing.assert_array_equal(seen[0][0], x_BxL)
    np.testing.assert_array_equal(seen[0][1], noise(t_B).sigma)
    bound_B = dwdse_loss(log_score_fn, graph, noise, x0_BxL, t_B, x_BxL)
    np.testing.assert_allclose(loss_B, bound_B, rtol=1e-6)


def test_another_name_is_refused():
    with pytest.raises(ValueError, match=r"loss\.type must be one of .*, got 'other'"):
        make_parametrisation("other", Absorbing(30), scale_by_sigma=True)
