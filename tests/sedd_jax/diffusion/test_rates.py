"""Samplers whose steps go from time to time: laws of samples to the last digit, no draw in them.

Two positions of three codes that depend on each other. S states of both, V tokens of one.
"""

import functools
import itertools
import operator

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion import rates
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.noise import Geometric, LogLinear
from sedd_jax.diffusion.process import Process
from sedd_jax.diffusion.schedule import Steps

C = 3
# No code is less than half as likely given the other one as it is otherwise.
MILD_CxC = np.array([[0.16, 0.10, 0.07], [0.08, 0.15, 0.10], [0.10, 0.08, 0.16]])
STRONG_CxC = np.array([[0.30, 0.02, 0.01], [0.01, 0.30, 0.02], [0.02, 0.01, 0.31]])


def log_score_fn(graph, p_CxC):
    """The exact log-scores of the law of both positions."""
    vocab = graph.vocab_size
    p_VxV = jnp.pad(p_CxC, (0, vocab - C))
    if graph.mask_id is None:
        limit_V = jnp.full(vocab, 1 / vocab)
    else:
        limit_V = jnp.arange(vocab) == graph.mask_id

    def row(x_2, sigma):
        move_VxV = jnp.exp(-sigma) * jnp.eye(vocab) - jnp.expm1(-sigma) * limit_V[None]
        log_p_VxV = jnp.log(move_VxV.T @ p_VxV @ move_VxV)
        here = log_p_VxV[x_2[0], x_2[1]]
        return jnp.stack([log_p_VxV[:, x_2[1]], log_p_VxV[x_2[0]]]) - here

    return jax.vmap(row)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 4))
def law_of_samples(name, graph, noise, p_CxC, steps: Steps) -> jax.Array:
    """The law of samples by the sampler called `name`, (C, C)."""
    vocab = graph.vocab_size
    state_Sx2 = jnp.array(list(itertools.product(range(vocab), repeat=2)))
    num = len(state_Sx2)
    process = Process(graph, noise, log_score_fn(graph, p_CxC))

    def moves(step_of_rows, from_Rx2):
        """The probability that a step turns each row into each state, (R, S)."""
        step = step_of_rows(from_Rx2)
        log_prob = jax.vmap(lambda to: step.log_prob(jnp.full(from_Rx2.shape, to)))
        move_VxRx2 = jnp.exp(log_prob(jnp.arange(vocab)))
        return jnp.einsum("ar,br->rab", move_VxRx2[..., 0], move_VxRx2[..., 1]).reshape(-1, num)

    def body(law_S, index):
        t, dt = steps.span(noise, index)
        if name != "trapezoidal":
            move_SxS = moves(lambda x: rates.reverse_step(name, process, x, t, dt), state_Sx2)
            return law_S @ move_SxS, None
        first, _ = rates.leaps(process, state_Sx2, t, dt)
        there_SxS = moves(lambda x: first, state_Sx2)
        # From every start, whose rates are taken off, by every middle.
        start_Rx2 = jnp.repeat(state_Sx2, num, axis=0)
        _, second = rates.leaps(process, start_Rx2, t, dt)
        on_SxSxS = moves(second, jnp.tile(state_Sx2, (num, 1))).reshape(num, num, num)
        return jnp.einsum("s,sm,sme->e", law_S, there_SxS, on_SxSxS), None

    if graph.mask_id is None:
        law_S = jnp.full(num, 1 / num)
    else:
        law_S = (state_Sx2 == graph.mask_id).all(1) * 1.0
    law_S = jax.lax.scan(body, law_S.astype(p_CxC.dtype), jnp.arange(steps.num))[0]
    law_S = law_S @ moves(lambda x: process.denoiser(x, steps.eps), state_Sx2)
    return law_S.reshape(vocab, vocab)[:C, :C]


def distance(name, graph, noise, p_CxC, steps) -> float:
    """The total variation between the law of samples and the truth."""
    return float(jnp.abs(law_of_samples(name, graph, noise, p_CxC, steps) - p_CxC).sum() / 2)


@pytest.mark.parametrize("graph", [Absorbing(C), Uniform(C)], ids=["absorbing", "uniform"])
def test_twice_the_steps_make_a_half_of_the_error_or_with_two_leaps_a_quarter(graph):
    with jax.enable_x64(True):

        def ratio(name, p_CxC):
            return operator.truediv(
                *(distance(name, graph, LogLinear(), p_CxC, Steps(num)) for num in (8, 16))
            )

        assert ratio("euler", MILD_CxC) == pytest.approx(2.0, abs=0.1)
        assert 3.4 < ratio("trapezoidal", MILD_CxC) < 4.2
        # Where the other token rules a code out, rates would be negative and are taken for 0.
        assert ratio("trapezoidal", STRONG_CxC) < 2.8


def test_leaps_where_nearly_all_is_masked():
    """At sigma = 20 and a step below, the masked share is 1 in fp32, and its logarithm is not 0."""
    graph, noise = Absorbing(C), Geometric(1e-4, 20.0)
    told = []

    def fn(x_BxL, sigma_B):
        told.append(float(sigma_B[0]))
        return log_score_fn(graph, MILD_CxC)(x_BxL, sigma_B)

    key_B = jax.random.split(jax.random.key(0), 2)
    x_BxL = graph.sample_limit(key_B, 2)
    process = Process(graph, noise, fn)
    drawn = rates.step("trapezoidal", process, Steps(128), key_B, x_BxL, 0)
    assert drawn.is_defined_B.all()
    start, middle = told
    end = float(noise(jnp.array(1 - 1 / 128)).sigma)
    # Half of the way in the logarithm of the masked share, whose rest is exp(-sigma).
    assert start == pytest.approx(20.0)
    assert np.exp(-middle) == pytest.approx((np.exp(-20.0) + np.exp(-end)) / 2, rel=1e-4)


def test_steps_of_any_schedule_end_where_they_are_to():
    for noise in (LogLinear(), Geometric(1e-4, 20.0)):
        for schedule in ("uniform", "cosine", (1.0, 2.0, 5.0)):
            steps = Steps(6, schedule)
            spans = [steps.span(noise, index) for index in range(6)]
            t, dt = np.array([[float(a), float(b)] for a, b in spans]).T
            assert t[0] == 1.0 and (dt > 0).all()
            np.testing.assert_allclose(t[:-1] - dt[:-1], t[1:], rtol=1e-5)
            np.testing.assert_allclose(t[-1] - dt[-1], steps.eps, rtol=0.02)
            if schedule == "cosine":  # so large a share has changed at each time
                share = -np.expm1(-noise(jnp.array(t)).sigma)
                share /= -np.expm1(-noise(1.0).sigma)
                np.testing.assert_allclose(share[1:], np.cos(np.pi / 12 * np.arange(1, 6)), 1e-4)
    # Not even the first ones of many, of less than a thousandth, stay where they are.
    steps = Steps(128, "cosine")
    assert all(steps.span(LogLinear(), index)[1] > 0 for index in range(128))
