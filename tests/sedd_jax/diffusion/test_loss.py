import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.loss import dwdse_loss, stratified_t, training_t
from sedd_jax.diffusion.noise import Geometric, LogLinear
from sedd_jax.diffusion.parametrisation import CodeProbabilities, ScoreEntropy, training_loss


def test_stratified_t_has_one_time_in_every_stratum():
    t_B = stratified_t(jax.random.key(3), 64, eps=1e-3)
    stratum_B = np.floor((np.sort(t_B) - 1e-3) / (1 - 1e-3) * 64 - 1e-4)
    assert len(np.unique(stratum_B)) == 64
    assert t_B.min() >= 1e-3 and t_B.max() <= 1
    late_B = stratified_t(jax.random.key(3), 64, eps=0.5)
    np.testing.assert_allclose(late_B, 0.5 + 0.5 * (t_B - 1e-3) / (1 - 1e-3), atol=1e-6)
    # Rows must not differ in how noisy they are on average.
    times = jnp.stack([stratified_t(jax.random.key(i), 4) for i in range(400)])
    np.testing.assert_allclose(times.mean(0), 0.5, atol=0.06)


def test_a_share_of_the_rows_is_stratified_over_high_noise():
    key = jax.random.key(3)
    np.testing.assert_array_equal(training_t(key, 64), stratified_t(key, 64))
    t_B = training_t(key, 64, high_share=0.25, from_t=0.8)
    assert t_B.shape == (64,)
    for part, low, n in [(t_B[:16], 0.8, 16), (t_B[16:], 1e-3, 48)]:
        stratum = np.floor((np.sort(part) - low) / (1 - low) * n - 1e-3)
        assert len(np.unique(stratum)) == n
        assert part.min() >= low and part.max() <= 1
    # The two parts are shifted by draws of their own.
    parts = np.stack([training_t(jax.random.key(i), 2, 0.5, from_t=1e-3) for i in range(200)])
    assert abs(np.corrcoef(parts.T)[0, 1]) < 0.2
    assert training_t(key, 4, high_share=1.0).min() >= 0.9


@pytest.mark.parametrize("graph", [Absorbing(30), Uniform(30)])
def test_loss_weighs_each_row_by_its_dsigma_and_sums_over_positions(graph):
    noise, t_B = Geometric(1e-3, 10.0), jnp.array([0.2, 0.6, 0.9])
    x0_BxL = jax.random.randint(jax.random.key(0), (3, 16), 0, 30)
    x_BxL = graph.perturb(jax.random.split(jax.random.key(1), 3), x0_BxL, noise(t_B).sigma)
    output_BxLxV = jax.random.normal(jax.random.key(2), (3, 16, graph.vocab_size))
    seen = []

    def network_fn(x_BxL, sigma_B):
        seen.append((x_BxL, sigma_B))
        return output_BxLxV

    loss_B = dwdse_loss(network_fn, graph, noise, x0_BxL, t_B, x_BxL)
    sigma_B, dsigma_B = noise(t_B)
    np.testing.assert_array_equal(seen[0][0], x_BxL)
    np.testing.assert_array_equal(seen[0][1], sigma_B)
    entropy_BxL = graph.score_entropy(output_BxLxV, sigma_B, x_BxL, x0_BxL)
    np.testing.assert_allclose(loss_B, dsigma_B * entropy_BxL.sum(-1), rtol=1e-6)


@pytest.mark.parametrize(
    ("parametrisation", "num_arrays"),
    [
        (ScoreEntropy(Absorbing(4096), scale_by_sigma=True), 2),
        (ScoreEntropy(Uniform(4097), scale_by_sigma=False), 3),
        (CodeProbabilities(Absorbing(4096), is_told_sigma=True), 2),
    ],
)
def test_loss_and_gradient_take_little_more_memory_than_the_output(parametrisation, num_arrays):
    """Output, its gradient, for the uniform graph one more; automatic gradients keep more."""
    graph = parametrisation.graph
    noise, (batch, length, width) = LogLinear(), (2, 64, 16)
    t_B = jnp.array([0.3, 0.8])

    def loss(kernel_DxV, bias_V, h_BxLxD, x0_BxL, x_BxL):
        def output_fn(x_BxL, sigma_B):
            return h_BxLxD @ kernel_DxV + bias_V[None, None]

        return training_loss(parametrisation, output_fn, noise, x0_BxL, t_B, x_BxL).mean()

    x_BxL = jnp.zeros((batch, length), jnp.int32)
    parameters = jnp.zeros((width, graph.vocab_size)), jnp.zeros(graph.vocab_size)
    h_BxLxD = jnp.zeros((batch, length, width))
    loss_and_gradient = jax.jit(jax.value_and_grad(loss, (0, 1, 2)))
    compiled = loss_and_gradient.lower(*parameters, h_BxLxD, x_BxL, x_BxL).compile()
    one_array = 4 * batch * length * graph.vocab_size
    assert compiled.memory_analysis().temp_size_in_bytes < (num_arrays + 0.2) * one_array
