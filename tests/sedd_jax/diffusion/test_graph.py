import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from sedd_jax.diffusion.graph import Absorbing, Uniform, make_graph, mask_of
from tests import published_sedd

GRAPHS = [Absorbing(6), Uniform(6)]
SIGMA_B = jnp.array([0.05, 0.7, 3.0])


def rate_matrix(graph) -> np.ndarray:
    """Q[y, x]: the rate of x turning into y (eq. 15, 16)."""
    vocab = graph.vocab_size
    if isinstance(graph, Absorbing):
        q = -np.eye(vocab)
        q[graph.mask_id] += 1
        return q
    return np.full((vocab, vocab), 1 / vocab) - np.eye(vocab)


def transitions(graph) -> np.ndarray:
    """p_{t|0}(y | x) as [B, y, x], from the matrix exponential."""
    return np.stack([scipy.linalg.expm(float(s) * rate_matrix(graph)) for s in SIGMA_B])


def tokens_and_scores(graph, length=40, seed=0):
    """x0, a reachable x, and random log-scores, zero at x."""
    keys = jax.random.split(jax.random.key(seed), 3)
    shape = (len(SIGMA_B), length)
    x0_BxL = jax.random.randint(keys[0], shape, 0, graph.num_codes)
    x_BxL = graph.perturb(jax.random.split(keys[1], len(SIGMA_B)), x0_BxL, SIGMA_B)
    log_score_BxLxV = jax.random.normal(keys[2], (*shape, graph.vocab_size))
    here_BxLxV = jax.nn.one_hot(x_BxL, graph.vocab_size, dtype=bool)
    return x0_BxL, x_BxL, jnp.where(here_BxLxV, 0.0, log_score_BxLxV)


def true_ratios(graph, x_BxL, x0_BxL) -> np.ndarray:
    """p_{t|0}(y | x0) / p_{t|0}(x | x0), (B, L, V)."""
    p = transitions(graph)
    row = np.arange(len(SIGMA_B))[:, None]
    return p[row, :, x0_BxL] / p[row, x_BxL, x0_BxL][..., None]


@pytest.mark.parametrize("graph", GRAPHS)
def test_perturb_draws_from_the_matrix_exponential(graph):
    num = 40_000
    x0_BxL = jnp.full((len(SIGMA_B), num), 2)
    x_BxL = graph.perturb(jax.random.split(jax.random.key(0), len(SIGMA_B)), x0_BxL, SIGMA_B)
    share_BxV = np.stack([np.bincount(x, minlength=graph.vocab_size) / num for x in x_BxL])
    np.testing.assert_allclose(share_BxV, transitions(graph)[:, :, 2], atol=0.012)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_rows_draw_depends_on_its_key_alone(graph):
    key_B = jax.random.split(jax.random.key(0), len(SIGMA_B))
    x0_BxL, _, _ = tokens_and_scores(graph)
    together = graph.perturb(key_B, x0_BxL, SIGMA_B)
    alone = graph.perturb(key_B[1:2], x0_BxL[1:2], SIGMA_B[1:2])
    np.testing.assert_array_equal(together[1:2], alone)
    np.testing.assert_array_equal(
        graph.sample_limit(key_B, 40)[1:2], graph.sample_limit(key_B[1:2], 40)
    )


@pytest.mark.parametrize("graph", GRAPHS)
def test_rates_and_transitions_are_those_of_the_matrices(graph):
    _, x_BxL, log_score_BxLxV = tokens_and_scores(graph)
    score_BxLxV = np.exp(log_score_BxLxV)

    rate_BxLxV = rate_matrix(graph)[x_BxL] * score_BxLxV
    np.put_along_axis(rate_BxLxV, np.asarray(x_BxL)[..., None], 0.0, -1)
    np.put_along_axis(rate_BxLxV, np.asarray(x_BxL)[..., None], -rate_BxLxV.sum(-1)[..., None], -1)
    np.testing.assert_allclose(
        published_sedd.reverse_rate(graph, x_BxL, score_BxLxV), rate_BxLxV, atol=1e-5
    )

    inverse = np.stack([scipy.linalg.expm(-float(s) * rate_matrix(graph)) for s in SIGMA_B])
    staggered = np.einsum("byx,blx->bly", inverse, score_BxLxV)
    np.testing.assert_allclose(
        published_sedd.staggered_score(graph, score_BxLxV, SIGMA_B), staggered, rtol=1e-4, atol=1e-4
    )

    row = np.arange(len(SIGMA_B))[:, None]
    np.testing.assert_allclose(
        published_sedd.transp_transition(graph, x_BxL, SIGMA_B),
        transitions(graph)[row, x_BxL],
        atol=1e-6,
    )


@pytest.mark.parametrize("graph", GRAPHS)
def test_score_entropy_is_zero_at_the_true_ratios_and_positive_elsewhere(graph):
    x0_BxL, x_BxL, wrong_BxLxV = tokens_and_scores(graph)
    true_BxLxV = np.log(np.maximum(true_ratios(graph, x_BxL, x0_BxL), 1e-30))
    zero_BxL = graph.score_entropy(true_BxLxV.astype(np.float32), SIGMA_B, x_BxL, x0_BxL)
    positive_BxL = graph.score_entropy(wrong_BxLxV, SIGMA_B, x_BxL, x0_BxL)
    jumps_back_BxL = np.ones(x_BxL.shape, bool)
    if isinstance(graph, Absorbing):
        jumps_back_BxL = np.asarray(x_BxL == graph.mask_id)
    np.testing.assert_allclose(zero_BxL, 0.0, atol=1e-4)
    assert np.all(positive_BxL[jumps_back_BxL] > 1e-2)
    np.testing.assert_array_equal(positive_BxL[~jumps_back_BxL], 0.0)


@pytest.mark.parametrize("graph", GRAPHS)
def test_score_entropy_and_its_gradient_are_those_of_the_definition(graph):
    x0_BxL, x_BxL, log_score_BxLxV = tokens_and_scores(graph)
    ratio_BxLxV = true_ratios(graph, x_BxL, x0_BxL)
    weight_BxLxV = rate_matrix(graph)[x_BxL] * (1 - np.eye(graph.vocab_size)[x_BxL])
    scale_B = jnp.array([1.0, -2.0, 0.5])

    def definition(log_score_BxLxV):
        """Eq. 5 and 7: sum over y != x of Q(x, y) (s - r log s + K(r))."""
        constant = np.where(ratio_BxLxV > 0, ratio_BxLxV * (np.log(ratio_BxLxV + 1e-30) - 1), 0.0)
        entropy = jnp.exp(log_score_BxLxV) - ratio_BxLxV * log_score_BxLxV + constant
        return (weight_BxLxV * entropy).sum(-1)

    def ours(log_score_BxLxV):
        return graph.score_entropy(log_score_BxLxV, SIGMA_B, x_BxL, x0_BxL)

    np.testing.assert_allclose(
        ours(log_score_BxLxV), definition(log_score_BxLxV), rtol=1e-4, atol=1e-4
    )
    gradient, expected = (
        jax.grad(lambda s, fn=fn: (scale_B[:, None] * fn(s)).sum())(log_score_BxLxV)
        for fn in (ours, definition)
    )
    np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-5)


def test_scores_that_nothing_trains_do_not_count_even_where_they_overflow():
    graph = Absorbing(6)
    x0_BxL, x_BxL, log_score_BxLxV = tokens_and_scores(graph)
    trained_BxLxV = (x_BxL == graph.mask_id)[..., None] | (log_score_BxLxV == 0)
    wild_BxLxV = jnp.where(trained_BxLxV, log_score_BxLxV, 200.0)  # no fp32 is e to the 200th

    @jax.jit
    @jax.value_and_grad
    def loss_and_gradient(log_score_BxLxV):
        return graph.score_entropy(log_score_BxLxV, SIGMA_B, x_BxL, x0_BxL).sum()

    wild, expected = loss_and_gradient(wild_BxLxV), loss_and_gradient(log_score_BxLxV)
    np.testing.assert_array_equal(wild[0], expected[0])
    np.testing.assert_array_equal(wild[1], expected[1])


def test_uniform_score_entropy_keeps_its_digits_where_noise_is_small_and_codes_are_many():
    graph, sigma = Uniform(4096), 1e-4
    growth = np.expm1(sigma)
    ratio = growth / (growth + 4096)
    x_BxL, x0_BxL = jnp.array([[0, 1]]), jnp.array([[0, 2]])
    score_BxLxV = np.full((1, 2, 4096), ratio)
    score_BxLxV[0, 1], score_BxLxV[0, 1, 2] = 1.0, 1 / ratio
    log_score_BxLxV = np.log(score_BxLxV).astype(np.float32)
    entropy_BxL = graph.score_entropy(log_score_BxLxV, jnp.array([sigma]), x_BxL, x0_BxL)
    # Zero at the truth, but for the rounding of terms as large as log(1/r) / (r V).
    np.testing.assert_allclose(entropy_BxL[0], 0.0, atol=1e-5 * np.log(1 / ratio) / ratio / 4096)
    assert abs(entropy_BxL[0, 0]) < 1e-6


def test_unknown_graph_is_refused():
    assert make_graph("absorbing", 6) == Absorbing(6)
    assert make_graph("uniform", 6) == Uniform(6)
    with pytest.raises(ValueError, match="graph.type"):
        make_graph("absorb", 6)


def test_the_uniform_graph_has_no_mask_to_ask_for():
    assert mask_of(Absorbing(7)) == 7
    with pytest.raises(ValueError, match="uniform graph has no mask"):
        mask_of(Uniform(7))
