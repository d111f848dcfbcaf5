"""Narrower draws: of the target, given that a position jumps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion import rates
from sedd_jax.diffusion.draws import Draws
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.jump import ReverseStep, make_step
from sedd_jax.diffusion.noise import LogLinear
from sedd_jax.diffusion.process import Process

NUM_CODES = 300
GRAPHS = [Absorbing(NUM_CODES), Uniform(NUM_CODES)]
KINDS = ["euler", "analytic", "denoise"]


def step_of(graph, kind) -> ReverseStep:
    """A step from x (2, 3), the mask of an absorbing graph at some positions."""
    x_BxL = jnp.array([[7, graph.vocab_size - 1, 9], [graph.vocab_size - 1, 2, 5]])
    log_score_BxLxV = 2 * jax.random.normal(jax.random.key(0), (*x_BxL.shape, graph.vocab_size)) - 3
    here_BxLxV = jax.nn.one_hot(x_BxL, graph.vocab_size, dtype=bool)
    law = {"euler": graph.euler_law, "analytic": graph.tweedie_law, "denoise": graph.denoise_law}
    return make_step(
        law[kind], x_BxL, jnp.where(here_BxLxV, 0.0, log_score_BxLxV), jnp.full(2, 0.1)
    )


def probs(step: ReverseStep) -> np.ndarray:
    """(B, L, V)."""
    log_prob = jax.vmap(lambda code: step.log_prob(jnp.full_like(step.x_BxL, code)), out_axes=-1)
    return np.exp(np.asarray(log_prob(jnp.arange(step.log_score_BxLxV.shape[-1])), np.float64))


def narrowed(p_V: np.ndarray, x: int, temperature=1.0, top_k=None, top_p=1.0) -> np.ndarray:
    """The probabilities p_V that a position is to have, by sorting; x is its present token."""
    target_V = p_V.copy()
    target_V[x] = 0
    jump = target_V.sum()
    if jump == 0:
        return p_V
    target_V = (target_V / jump) ** (1 / temperature)
    order_V = np.argsort(-target_V)
    if top_k is not None:
        target_V[order_V[top_k:]] = 0
    target_V /= target_V.sum()
    before_V = np.cumsum(target_V[order_V]) - target_V[order_V]
    target_V[order_V[before_V >= top_p]] = 0
    target_V *= jump / target_V.sum()
    target_V[x] = p_V[x]
    return target_V


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        dict(temperature=0.5),
        dict(top_k=3),
        dict(top_p=0.7),
        dict(temperature=2, top_k=40, top_p=0.9),
    ],
)
def test_targets_are_narrowed_and_jumps_are_as_many(graph, kind, options):
    step = step_of(graph, kind)
    before = probs(step)
    numbers = {key: jnp.float32(value) for key, value in options.items()}
    after = probs(Draws(**numbers).narrow(step))
    for b, place in np.ndindex(step.x_BxL.shape):
        expected = narrowed(before[b, place], int(step.x_BxL[b, place]), **options)
        np.testing.assert_allclose(after[b, place], expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("temperature", [1e-9, 1e-30])
def test_next_to_no_temperature_is_the_most_probable_alone(graph, temperature):
    step = step_of(graph, "analytic")
    cold = probs(Draws(temperature=jnp.float32(temperature)).narrow(step))
    top = probs(Draws(top_k=jnp.float32(1)).narrow(step))
    np.testing.assert_allclose(cold, top, rtol=1e-4, atol=1e-9)


def test_each_row_has_its_own_and_at_the_defaults_nothing_changes():
    step = step_of(GRAPHS[1], "analytic")
    draws = Draws(jnp.array([1.0, 0.5]), jnp.array([NUM_CODES, 4]), jnp.array([1.0, 0.8]))
    before, after = probs(step), probs(draws.narrow(step))
    np.testing.assert_allclose(after[0], before[0], rtol=1e-5)
    expected = narrowed(before[1, 0], int(step.x_BxL[1, 0]), 0.5, 4, 0.8)
    np.testing.assert_allclose(after[1, 0], expected, rtol=1e-3, atol=1e-9)


def test_what_is_equally_probable_stays_together():
    graph = Absorbing(6)
    log_score_V = jnp.log(jnp.array([0.4, 0.2, 0.2, 0.1, 0.05, 0.05, 1.0]))
    step = make_step(graph.denoise_law, jnp.array([[6]]), log_score_V[None, None], jnp.full(1, 0.1))
    kept = lambda **options: np.flatnonzero(  # noqa: E731
        probs(Draws(**{k: jnp.float32(v) for k, v in options.items()}).narrow(step))
    ).tolist()
    assert kept(top_k=1) == kept(top_p=0.3) == [0]
    assert kept(top_k=2) == kept(top_p=0.5) == [0, 1, 2]
    assert kept(top_p=1.0) == kept(top_k=7) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_still_told(graph, value):
    key_1, x_1xL = jax.random.split(jax.random.key(0), 1), jnp.full((1, 3), graph.vocab_size - 1)

    @functools.partial(jax.jit, static_argnums=0)
    def draw(broken, draws):
        def log_score_fn(x_BxL, sigma_B):
            return jnp.full((1, 3, graph.vocab_size), value if broken else -1.0)

        process = Process(graph, LogLinear(), log_score_fn, draws)
        step = rates.reverse_step("euler", process, x_1xL, 0.5, 0.01)
        return process.draw(step, key_1).is_defined_B

    for draws in (Draws(temperature=jnp.float32(0.5)), Draws(top_p=jnp.float32(0.9))):
        assert draw(False, draws).all() and not draw(True, draws).any()
