"""Guidance on a distribution of two classes, small enough to enumerate what it aims at.

Letters: C codes, L = 2 positions, V vocabulary, S = V^L states, T steps.
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion import rates
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.guidance import Guided, mix_steps, weight_at
from sedd_jax.diffusion.jump import JumpLaw, ReverseStep
from sedd_jax.diffusion.noise import LogLinear
from sedd_jax.diffusion.process import Process

C, L, EPS = 3, 2, 1e-5
SHARES = (0.3, 0.7)  # of the two classes


def classes() -> np.ndarray:
    """p(x | class), (2, C, C): the positions depend on each other, in each class otherwise."""
    p = np.random.default_rng(0).dirichlet(np.ones(C * C), 2).reshape(2, C, C)
    return 0.5 * p + 0.5 * np.stack([np.eye(C), np.roll(np.eye(C), 1, axis=1)]) / C


def pair() -> tuple[np.ndarray, np.ndarray]:
    """(conditional on class 0, unconditional)."""
    return classes()[0], np.tensordot(SHARES, classes(), 1)


def states(vocab: int) -> np.ndarray:
    """All of them, (S, L)."""
    return np.array(list(itertools.product(range(vocab), repeat=L)), np.int32)


def kernel(graph, sigma: float) -> np.ndarray:
    """exp(sigma Q) of one token, (V, V): where a token is after the noise sigma."""
    vocab = graph.vocab_size
    limit_V = np.eye(vocab)[graph.mask_id] if graph.mask_id is not None else np.ones(vocab) / vocab
    return np.exp(-sigma) * np.eye(vocab) - np.expm1(-sigma) * limit_V


def noised(graph, p_CxC: np.ndarray, sigma: float) -> np.ndarray:
    """p_sigma, (V, V)."""
    p_VxV = np.pad(p_CxC, (0, graph.vocab_size - C))
    return np.einsum("ab,ax,by->xy", p_VxV, *[kernel(graph, sigma)] * 2)


def log_score_fn(graph, p_CxC):
    """Exact log-scores of p, as a sampler asks for them."""
    vocab = graph.vocab_size
    p_VxV = jnp.pad(jnp.asarray(p_CxC, jnp.float32), (0, vocab - C))
    limit_V = (
        jnp.eye(vocab)[graph.mask_id] if graph.mask_id is not None else jnp.ones(vocab) / vocab
    )

    def row(x_L, sigma):
        move_VxV = jnp.exp(-sigma) * jnp.eye(vocab) - jnp.expm1(-sigma) * limit_V[None]
        log_p_VxV = jnp.log(jnp.einsum("ab,ax,by->xy", p_VxV, move_VxV, move_VxV))
        neighbours = jnp.stack([log_p_VxV[:, x_L[1]], log_p_VxV[x_L[0]]])
        return neighbours - log_p_VxV[x_L[0], x_L[1]]

    return jax.vmap(row)


def guided(graph, weight, schedule="constant") -> Guided:
    conditional, other = (log_score_fn(graph, p) for p in pair())

    def pair_fn(x_BxL, sigma_B):
        return conditional(x_BxL, sigma_B), other(x_BxL, sigma_B)

    return Guided(pair_fn, functools.partial(weight_at, schedule, jnp.float32(weight)))


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def law_of_samples(graph, name, weight, steps) -> jax.Array:
    """The exact distribution of a sampler's output over all states, (V, V)."""
    noise, vocab = LogLinear(), graph.vocab_size
    x_SxL = states(vocab)
    if graph.mask_id is None:
        law_S = jnp.full(len(x_SxL), 1 / len(x_SxL))
    else:
        law_S = jnp.asarray((x_SxL == graph.mask_id).all(1), jnp.float32)
    process = Process(graph, noise, guided(graph, weight))

    def advance(law_S, step: ReverseStep):
        move_VxSxL = jax.vmap(lambda y: jnp.exp(step.log_prob(jnp.full(x_SxL.shape, y))))(
            jnp.arange(vocab)
        )
        return jnp.einsum("s,xs,ys->xy", law_S, move_VxSxL[..., 0], move_VxSxL[..., 1]).ravel()

    def body(law_S, index):
        dt = (1 - EPS) / steps
        t = EPS + dt * (steps - index)
        step = rates.reverse_step(name, process, x_SxL, t, dt)
        return advance(law_S, step), None

    law_S = jax.lax.scan(body, law_S, jnp.arange(steps))[0]
    return advance(law_S, process.denoiser(x_SxL, EPS)).reshape(vocab, vocab)


def one_by_one(weight: float) -> np.ndarray:
    """The target of guiding an absorbing process, (C, C): either position first, each code from
    p_c^w p_o^(1-w) given what is there."""

    def mixed(conditional, other):
        p = conditional**weight * other ** (1 - weight)
        return p / p.sum(-1, keepdims=True)

    def in_order(p, q):
        first = mixed(p.sum(1), q.sum(1))
        rest = mixed(p / p.sum(1, keepdims=True), q / q.sum(1, keepdims=True))
        return first[:, None] * rest

    p, q = pair()
    return (in_order(p, q) + in_order(p.T, q.T).T) / 2


def at_mixed_rates(weight: float) -> np.ndarray:
    """The target of guiding a uniform process, (C, C): the end of the jump process whose rates
    are s_c^w s_o^(1-w) / C, integrated in small steps of equal noise (Runge-Kutta)."""
    graph = Uniform(C)
    x_SxL = states(C)
    differs_SxSxL = x_SxL[:, None] != x_SxL[None]
    is_jump_SxS = differs_SxSxL.sum(-1) == 1

    def flow(law_S, sigma):
        p_S, q_S = (noised(graph, p, sigma).ravel() for p in pair())
        score_SxS = (p_S[None] / p_S[:, None]) ** weight
        score_SxS *= (q_S[None] / q_S[:, None]) ** (1 - weight)
        rate_SxS = np.where(is_jump_SxS, score_SxS, 0) / C
        return law_S @ rate_SxS - law_S * rate_SxS.sum(1)

    law_S = np.full(C**L, 1 / C**L)
    noise = LogLinear()
    sigmas = np.geomspace(float(noise(jnp.ones(())).sigma), 1e-5, 4000)
    for sigma, after in itertools.pairwise(sigmas):
        h, middle = sigma - after, (sigma + after) / 2
        k1 = flow(law_S, sigma)
        k2 = flow(law_S + h / 2 * k1, middle)
        k3 = flow(law_S + h / 2 * k2, middle)
        law_S = law_S + h / 6 * (k1 + 2 * k2 + 2 * k3 + flow(law_S + h * k3, after))
    return law_S.reshape(C, C)


def distance(a, b) -> float:
    return float(np.abs(np.asarray(a)[:C, :C] - b).sum() / 2)


@pytest.mark.parametrize("name", ["euler", "analytic"])
@pytest.mark.parametrize("graph", [Absorbing(C), Uniform(C)], ids=["absorbing", "uniform"])
def test_samples_approach_what_guidance_aims_at_as_steps_grow(graph, name):
    aim = one_by_one if isinstance(graph, Absorbing) else at_mixed_rates
    p, q = pair()
    for weight, also in ((0.0, q), (0.5, None), (1.0, p), (2.0, None)):
        target = aim(weight)
        if also is not None:  # nothing but one of the models
            np.testing.assert_allclose(target, also, atol=2e-3)
        coarse, fine = (
            distance(law_of_samples(graph, name, weight, steps), target) for steps in (16, 256)
        )
        assert fine < coarse / 4 and fine < 0.012, (weight, coarse, fine)
    assert distance(p, one_by_one(2.0)) > 0.05  # guidance is something
    unequal = distance(one_by_one(2.0), at_mixed_rates(2.0))
    assert unequal > 0.01  # and the two aims are two


def test_absorbing_guidance_leaves_when_masks_turn_to_the_conditional_model():
    graph, noise = Absorbing(C), LogLinear()
    x_SxL = states(C + 1)
    kept = []
    for weight in (0.0, 0.3, 1.0, 3.0):
        process = Process(graph, noise, guided(graph, weight))
        step = rates.reverse_step("euler", process, x_SxL, jnp.float32(0.5), 1 / 8)
        kept.append(step.jump_weight())
        assert not np.any(
            np.asarray(step.log_score_BxLxV)[
                np.indices(x_SxL.shape)[0], np.indices(x_SxL.shape)[1], x_SxL
            ]
        )
    # Exact models agree when; a model that hurries leads where it is the conditional one.
    for sums in kept[1:]:
        np.testing.assert_allclose(sums, kept[0], rtol=1e-5)
    hurried = guided(graph, 1.0)

    def jump_weight(weight):
        def pair_fn(x_BxL, sigma_B):
            conditional, other = hurried.pair_fn(x_BxL, sigma_B)
            return conditional + jnp.log(4.0), other

        pair_of = Guided(pair_fn, lambda t: jnp.float32(weight))
        process = Process(graph, noise, pair_of)
        return rates.reverse_step("euler", process, x_SxL, jnp.float32(0.5), 1 / 64).jump_weight()

    for weight, factor in ((0.0, 1.0), (0.5, 2.0), (1.0, 4.0), (3.0, 4.0)):
        np.testing.assert_allclose(jump_weight(weight), factor * jump_weight(0.0), rtol=1e-4)


def test_a_posterior_that_one_of_the_two_rules_out():
    x_1x1 = jnp.zeros((1, 1), jnp.int32)

    def step(weights):
        log_score_V = jnp.log(jnp.asarray(weights))
        law = JumpLaw(jnp.full((1, 1), weights[0]), jnp.ones((1, 1)))
        return ReverseStep.make(x_1x1, log_score_V[None, None], law)

    def probs(conditional, other, weight):
        mixed = mix_steps(step(conditional), step(other), jnp.float32(weight))
        return [float(jnp.exp(mixed.log_prob(jnp.full((1, 1), y)))[0, 0]) for y in range(3)]

    p, q = [0.5, 0.5, 0.0], [0.2, 0.0, 0.8]
    np.testing.assert_allclose(probs(p, q, 1.0), p, atol=1e-6)
    np.testing.assert_allclose(probs(p, q, 0.0), q, atol=1e-6)
    np.testing.assert_allclose(probs(p, q, 0.5), [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(probs(p, q, 2.0), np.array([1.25, 0.5, 0]) / 1.75, atol=1e-6)


def test_schedules_start_and_end_where_they_say():
    for schedule, start, end in (("constant", 3, 3), ("rising", 1, 3), ("falling", 3, 1)):
        weights = [float(weight_at(schedule, jnp.float32(3), jnp.float32(t))) for t in (1, 0)]
        assert weights == [start, end]
    with pytest.raises(ValueError, match="schedule must be one of"):
        weight_at("sinking", 2.0, 0.5)
