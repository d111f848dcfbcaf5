import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion import rates
from sedd_jax.diffusion.bound import bound_terms
from sedd_jax.diffusion.choices import PARAMETRISATIONS
from sedd_jax.diffusion.code_nats import weighted_code_nats
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.known import at_masked_share
from sedd_jax.diffusion.loss import dwdse_loss
from sedd_jax.diffusion.noise import EvenShare, Geometric, LogLinear
from sedd_jax.diffusion.parametrisation import (
    CodeMeans,
    CodeProbabilities,
    ScoreEntropy,
    make_parametrisation,
    training_loss,
)
from sedd_jax.diffusion.process import Process
from tests.sedd_jax.diffusion import toy

TOY = Absorbing(toy.NUM_CODES)
NOISES = [LogLinear(), Geometric(1e-4, 20.0)]
NAMES = [name for name, graphs in PARAMETRISATIONS.items() if "absorbing" in graphs]


def batch(graph, noise, num_rows=3, length=16):
    """(x0_BxL, t_B, x_BxL, output_BxLxV) at three levels of noise."""
    t_B = jnp.linspace(0.2, 0.9, num_rows)
    x0_BxL = jax.random.randint(jax.random.key(0), (num_rows, length), 0, graph.num_codes)
    key_B = jax.random.split(jax.random.key(1), num_rows)
    x_BxL = graph.perturb(key_B, x0_BxL, noise(t_B).sigma)
    shape = (num_rows, length, graph.vocab_size)
    return x0_BxL, t_B, x_BxL, jax.random.normal(jax.random.key(2), shape)


def toy_scores(name, power=1.0):
    """The log-score function of a network whose output is exact, to a power, under `name`.

    What its softmax leaves free is anything: a number at each position, and the mask's own.
    """
    parametrisation = make_parametrisation(name, TOY, scale_by_sigma=False)
    exact = toy.log_score_fn(TOY)

    def log_score_fn(x_BxL, sigma_B):
        output_BxLxV = power * exact(x_BxL, sigma_B)
        if name != "score_entropy":
            output_BxLxV += jnp.sin(jnp.arange(x_BxL.shape[1]))[None, :, None]
            is_mask_V = jnp.arange(TOY.vocab_size) == TOY.mask_id
            output_BxLxV = jnp.where(is_mask_V[None, None], 200.0, output_BxLxV)
        return parametrisation.log_score(output_BxLxV, x_BxL, sigma_B)

    return log_score_fn


@pytest.mark.parametrize("scale_by_sigma", [True, False])
def test_score_entropy_takes_the_output_for_the_log_score(scale_by_sigma):
    graph, noise = Absorbing(30), Geometric(1e-3, 10.0)
    parametrisation = make_parametrisation("score_entropy", graph, scale_by_sigma=scale_by_sigma)
    _, t_B, x_BxL, output_BxLxV = batch(graph, noise)
    sigma_B = noise(t_B).sigma
    found_BxLxV = np.asarray(parametrisation.log_score(output_BxLxV, x_BxL, sigma_B))
    offset_B = np.log(np.expm1(sigma_B) * 30) if scale_by_sigma else np.zeros(3)
    is_here = np.arange(31) == np.asarray(x_BxL)[..., None]
    expected = np.where(is_here, 0, output_BxLxV - offset_B[:, None, None])
    np.testing.assert_allclose(found_BxLxV, expected, atol=1e-5)


@pytest.mark.parametrize(
    "parametrisation",
    [
        ScoreEntropy(Absorbing(30), scale_by_sigma=True),
        ScoreEntropy(Uniform(30), scale_by_sigma=False),
        CodeProbabilities(Absorbing(30), is_told_sigma=True),
        CodeMeans(Uniform(30)),
    ],
)
@pytest.mark.parametrize("noise", NOISES)
def test_every_training_loss_is_the_score_entropy_that_the_bound_is_made_of(parametrisation, noise):
    """So masked cross-entropy with the schedule's weight is the score entropy of p / expm1(σ)."""
    graph = parametrisation.graph
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
    np.testing.assert_allclose(loss_B, bound_B, rtol=1e-4, atol=1e-4)
    assert loss_B.max() > 1  # though little is lost early, and codes mean little late


def test_the_loss_of_code_probabilities_is_the_weighted_cross_entropy_of_masked_positions():
    graph, noise = Absorbing(30), Geometric(1e-3, 10.0)
    x0_BxL, t_B, x_BxL, output_BxLxV = batch(graph, noise)
    sigma_B, dsigma_B = noise(t_B)
    parametrisation = CodeProbabilities(graph, is_told_sigma=False)
    loss_B = training_loss(parametrisation, lambda *_: output_BxLxV, noise, x0_BxL, t_B, x_BxL)
    log_p_BxLxK = jax.nn.log_softmax(output_BxLxV[..., :30])
    nats_BxL = -np.take_along_axis(np.asarray(log_p_BxLxK), np.asarray(x0_BxL)[..., None], 2)[
        ..., 0
    ]
    keep_B = np.exp(-sigma_B)  # alpha of MD4 and MDLM, whose weight is -alpha' / (1 - alpha)
    weight_B = keep_B * dsigma_B / (1 - keep_B)
    expected_B = weight_B * np.where(x_BxL == graph.mask_id, nats_BxL, 0).sum(1)
    np.testing.assert_allclose(loss_B, expected_B, rtol=1e-5)


def test_the_gradient_of_the_cross_entropy_is_that_of_its_definition():
    graph = Absorbing(30)
    x0_BxL, _, x_BxL, output_BxLxV = batch(graph, LogLinear())
    output_BxLxV = 20 * output_BxLxV + 100  # exponentials of which overflow
    weight_BxL = jnp.where(x_BxL == graph.mask_id, 1.5, 0.0)
    row_BxL = jnp.arange(3.0)[:, None]

    def definition(output_BxLxV):
        log_p_BxLxK = jax.nn.log_softmax(output_BxLxV[..., :30])
        return -weight_BxL * jnp.take_along_axis(log_p_BxLxK, x0_BxL[..., None], 2)[..., 0]

    def ours(output_BxLxV):
        return weighted_code_nats(graph.mask_id, output_BxLxV, x0_BxL, weight_BxL)

    np.testing.assert_allclose(ours(output_BxLxV), definition(output_BxLxV), rtol=1e-5, atol=1e-4)
    found, expected = (
        jax.grad(lambda output, fn=fn: (row_BxL * fn(output)).sum())(output_BxLxV)
        for fn in (ours, definition)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert np.all(found[..., 30] == 0) and np.any(found)


@pytest.mark.parametrize("name", NAMES)
def test_the_bound_meets_the_truth_at_the_exact_answer_and_exceeds_it_at_another(name):
    num_rows, length = 64, 600
    x0_BxL = toy.draw(np.random.default_rng(1), (num_rows, length))
    key_B = jax.random.split(jax.random.key(2), num_rows)
    log_p_B = np.log(toy.joint())[tuple(x0_BxL.reshape(-1, 3).T)].reshape(num_rows, -1).sum(-1)

    @jax.jit
    def bound(power):
        terms = bound_terms(toy_scores(name, power), TOY, LogLinear(), x0_BxL, key_B, num_t=16)
        return terms.total_B

    for power in (1.0, 0.7):
        excess_B = (np.asarray(bound(power)) + log_p_B) / length
        error = excess_B.std(ddof=1) / np.sqrt(num_rows)
        assert error < 0.01  # of an entropy of 0.71 nats a token
        if power == 1:
            assert abs(excess_B.mean()) < 3 * error
        else:
            assert excess_B.mean() > 3 * error


@pytest.mark.parametrize("noise", NOISES)
def test_all_give_the_samplers_one_law_at_the_exact_answer(noise):
    x_1xL = np.array([[4, 1, 2, 4, 4, 0, 3, 4, 4, 4, 4, 4, 0, 1, 2]], np.int32)
    laws = []
    for name in NAMES:
        process = Process(TOY, noise, toy_scores(name))
        steps = [
            rates.reverse_step(sampler, process, x_1xL, jnp.float32(0.7), 0.1)
            for sampler in ("euler", "analytic")
        ]
        steps.append(process.denoiser(x_1xL, 1e-5))
        laws.append(
            [
                np.exp(step.log_prob(jnp.full_like(x_1xL, code)))
                for step in steps
                for code in range(5)
            ]
        )
    assert 0.01 < laws[0][0][0, 0] < 0.99
    np.testing.assert_allclose(laws[1], laws[0], atol=1e-5)
    np.testing.assert_allclose(laws[2], laws[0], atol=1e-5)


def test_the_level_that_a_network_without_sigma_is_told_does_not_matter():
    x_1xL = np.array([[4, 1, 2, 4, 4, 0, 3, 4, 4]], np.int32)
    fn, sigma_B = toy_scores("conditional"), jnp.array([0.3])
    found_fn = at_masked_share(TOY.mask_id, LogLinear(), fn, np.array([True]))
    found_1xLxV, expected_1xLxV = found_fn(x_1xL, sigma_B), fn(x_1xL, sigma_B)
    np.testing.assert_allclose(found_1xLxV[..., :4], expected_1xLxV[..., :4], atol=1e-5)


def test_even_shares_of_masks_leave_the_mean_of_the_loss_as_it_is():
    noise = Geometric(1e-3, 10.0)
    t_N = 1e-3 + (1 - 1e-3) * (jnp.arange(20_000) + 0.5) / 20_000
    even = EvenShare(noise)
    share_N = np.asarray(-jnp.expm1(-even(t_N).sigma))
    np.testing.assert_allclose(np.diff(share_N, 2), 0, atol=1e-6)
    ends = [-np.expm1(-noise(jnp.array(t)).sigma) for t in (1e-3, 1.0)]
    np.testing.assert_allclose(share_N[[0, -1]], ends, atol=1e-4)
    means = []
    for level in (noise(t_N), even(t_N)):
        means.append(float((level.dsigma * jnp.exp(-level.sigma)).mean()))
    assert means[0] == pytest.approx(means[1], rel=1e-3)


def mean_scores(power=1.0):
    """The log-score function of a network whose code means are exact, to a power."""
    graph = Uniform(toy.NUM_CODES)
    exact = toy.log_score_fn(graph)

    def log_score_fn(x_BxL, sigma_B):
        marginal_BxLxV = jax.nn.softmax(exact(x_BxL, sigma_B))
        kept_Bx1x1 = jnp.exp(-sigma_B)[:, None, None]
        mean_BxLxV = marginal_BxLxV / kept_Bx1x1 - (1 / kept_Bx1x1 - 1) / graph.vocab_size
        output_BxLxV = power * jnp.log(jnp.maximum(mean_BxLxV, 1e-7)) + 3.0
        return CodeMeans(graph).log_score(output_BxLxV, x_BxL, sigma_B)

    return log_score_fn


def test_exact_code_means_are_the_exact_scores_and_their_bound_meets_the_truth():
    graph, num_rows, length = Uniform(toy.NUM_CODES), 64, 600
    x0_BxL = toy.draw(np.random.default_rng(1), (num_rows, length))
    key_B = jax.random.split(jax.random.key(2), num_rows)
    sigma_B = jnp.linspace(0.1, 3.0, num_rows)
    x_BxL = graph.perturb(key_B, x0_BxL, sigma_B)
    found, expected = (f(x_BxL, sigma_B) for f in (mean_scores(), toy.log_score_fn(graph)))
    np.testing.assert_allclose(found, expected, atol=2e-3)

    log_p_B = np.log(toy.joint())[tuple(x0_BxL.reshape(-1, 3).T)].reshape(num_rows, -1).sum(-1)

    @jax.jit
    def bound(power):
        return bound_terms(mean_scores(power), graph, LogLinear(), x0_BxL, key_B, num_t=16).total_B

    excess = [(np.asarray(bound(power)) + log_p_B) / length for power in (1.0, 0.7)]
    errors = [excess_B.std(ddof=1) / np.sqrt(num_rows) for excess_B in excess]
    assert abs(excess[0].mean()) < 3 * errors[0] < 0.03
    assert excess[1].mean() > 3 * errors[1]


def test_the_loss_of_code_means_is_that_of_its_paper_and_its_gradient_that_of_the_loss():
    """UDLM, arXiv 2412.10193: the continuous-time bound for the uniform graph."""
    graph, noise, vocab = Uniform(30), LogLinear(), 30
    x0_BxL, t_B, x_BxL, output_BxLxV = batch(graph, noise)
    output_BxLxV = 5 * output_BxLxV + 100  # exponentials of which overflow
    sigma_B, dsigma_B = noise(t_B)

    def paper(output_BxLxV):
        alpha_Bx1x1 = jnp.exp(-sigma_B)[:, None, None]
        ours, true = (
            vocab * alpha_Bx1x1 * p_BxLxV + 1 - alpha_Bx1x1
            for p_BxLxV in (jax.nn.softmax(output_BxLxV), jax.nn.one_hot(x0_BxL, vocab))
        )
        ours_x, true_x = (jnp.take_along_axis(a, x_BxL[..., None], -1) for a in (ours, true))
        sum_BxL = (true / true_x * jnp.log(ours_x * true / (ours * true_x))).sum(-1)
        gap_BxL = vocab / true_x[..., 0] - vocab / ours_x[..., 0]
        # alpha' / (vocab alpha) is -dsigma / vocab.
        return (-dsigma_B[:, None] / vocab * (gap_BxL - sum_BxL)).sum(-1)

    def ours(output_BxLxV):
        return training_loss(CodeMeans(graph), lambda *_: output_BxLxV, noise, x0_BxL, t_B, x_BxL)

    np.testing.assert_allclose(ours(output_BxLxV), paper(output_BxLxV), rtol=1e-4)
    found, expected = (
        jax.grad(lambda output, fn=fn: (fn(output) * jnp.arange(1.0, 4.0)).sum())(output_BxLxV)
        for fn in (ours, paper)
    )
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def test_another_name_or_graph_is_refused():
    with pytest.raises(ValueError, match=r"loss\.type must be one of .*, got 'other'"):
        make_parametrisation("other", TOY, scale_by_sigma=True)
    with pytest.raises(ValueError, match=r'"masked" is for the absorbing graph'):
        make_parametrisation("masked", Uniform(4), scale_by_sigma=False)
    with pytest.raises(ValueError, match=r'"mean" is for the uniform graph'):
        make_parametrisation("mean", TOY, scale_by_sigma=False)
