"""Rounds of distillation on a chain that the teacher knows all about, with a table as student."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sedd_jax.diffusion.distillation import Distillation
from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.noise import LogLinear

K, LENGTH, STAY = 4, 3, 0.9  # K codes, V = K + 1 with the mask
GRAPH, NOISE = Absorbing(K), LogLinear()


def chain() -> np.ndarray:
    """p(x), (K, K, K), of a chain that keeps its code with probability STAY, and else moves."""
    move_KxK = np.full((K, K), (1 - STAY) / (K - 1))
    np.fill_diagonal(move_KxK, STAY)
    return np.einsum("ab,bc->abc", move_KxK, move_KxK) / K


def answers() -> np.ndarray:
    """p(x_i | the tokens that are seen) of all triples of codes and masks, (V, V, V, 3, K)."""
    table = np.zeros((K + 1,) * LENGTH + (LENGTH, K))
    for seen in np.ndindex(table.shape[:LENGTH]):
        kept = [np.eye(K + 1)[code, :K] if code < K else np.ones(K) for code in seen]
        p = np.einsum("abc,a,b,c->abc", chain(), *kept)
        table[seen] = np.stack([p.sum(axes) for axes in ((1, 2), (0, 2), (0, 1))]) / p.sum()
    return table


def two_steps(table) -> np.ndarray:
    """The law (K, K, K) of a model that draws one position, any, and then both others at once."""
    law = np.zeros((K,) * LENGTH)
    for first in range(LENGTH):
        for x in np.ndindex(law.shape):
            seen = tuple(x[i] if i == first else K for i in range(LENGTH))
            others = [table[seen][i, x[i]] for i in range(LENGTH) if i != first]
            law[x] += table[(K,) * LENGTH][first, x[first]] * np.prod(others) / LENGTH
    return law


def score_fn(log_p_VxVxVxLxK):
    """The log-scores of a table of log-probabilities, which need not be normalised."""

    def fn(x_BxL, sigma_B):
        log_p_BxLxK = jnp.asarray(log_p_VxVxVxLxK)[tuple(x_BxL.T)]
        log_score_BxLxK = log_p_BxLxK - jnp.log(jnp.expm1(sigma_B))[:, None, None]
        log_score_BxLxV = jnp.pad(log_score_BxLxK, [(0, 0), (0, 0), (0, 1)])
        return jnp.where(jnp.arange(K + 1)[None, None] == x_BxL[..., None], 0.0, log_score_BxLxV)

    return fn


TEACHER = np.log(answers() + 1e-9).astype(np.float32)


@functools.cache
def taught(divergence: str, num_updates: int = 300) -> np.ndarray:
    """A student's words after a round, exp of its scores as they are; it starts as the teacher.

    It learns to draw all that is left at once, as the teacher does in 8 steps.
    """
    round_ = Distillation(1, 8, "euler", divergence)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, num_updates))
    states = np.random.default_rng(0).choice(K**LENGTH, (num_updates, 256), p=chain().ravel())
    x0_UxBxL = np.stack([states // K**2, states // K % K, states % K], -1).astype(np.int32)
    t_B = (jnp.arange(256) + 0.5) / 256

    def update(so_far, given):
        student, moments = so_far
        x0_BxL, key = given
        key_B = jax.random.split(key, 256)
        x_BxL = round_.masked(GRAPH, key_B, x0_BxL, t_B)
        lesson = round_.lesson(score_fn(TEACHER), GRAPH, NOISE, key_B, x_BxL, t_B)
        gradient = jax.grad(
            lambda student: round_.loss(score_fn(student), lesson, GRAPH, NOISE, x_BxL, t_B).mean()
        )(student)
        changes, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(student, changes), moments), None

    start = (jnp.array(TEACHER), optimizer.init(jnp.array(TEACHER)))
    given = (x0_UxBxL, jax.random.split(jax.random.key(1), num_updates))
    return np.exp(jax.jit(lambda: jax.lax.scan(update, start, given))()[0][0])


def measures(law) -> tuple[float, float, float]:
    """(total variation from the chain, KL(law || chain) and KL(chain || law) in bits)."""
    p = chain()
    kl = (law * np.log2(law / p)).sum(), (p * np.log2(p / law)).sum()
    return np.abs(law - p).sum() / 2, *kl


def said(table) -> np.ndarray:
    """A table, normalised over the codes."""
    return table / table.sum(-1, keepdims=True)


def test_a_round_brings_few_steps_nearer_to_the_truth():
    """The reverse divergence: by total variation, and by KL in both directions."""
    before, after = (measures(two_steps(table)) for table in (answers(), said(taught("reverse"))))
    np.testing.assert_allclose(before, (0.056, 0.153, 0.065), atol=1e-3)
    assert (np.array(after) < np.array(before) * [0.6, 0.4, 0.5]).all()
    # No temperature comes as near: it narrows all draws alike, and the student those that need it.
    cooled = [said(answers() ** (1 / t)) for t in (0.95, 0.9, 0.85, 0.8)]
    assert (np.array([measures(two_steps(table)) for table in cooled]).min(0) > after).all()


def test_the_forward_divergence_has_nothing_to_teach():
    """A teacher that knows all expects to say later what it says now."""
    after = measures(two_steps(said(taught("forward"))))
    np.testing.assert_allclose(after, measures(two_steps(answers())), rtol=0.03)


def test_the_students_scores_keep_their_sum():
    table = taught("reverse")
    np.testing.assert_allclose(table[K, K, K].sum(-1), 1, atol=0.02)
    np.testing.assert_allclose(table[0, K, K, 1:].sum(-1), 1, atol=0.02)


@functools.cache
def way(name: str, length: int):
    """(x_BxL, is_taught_BxL, seen_BxL, told_BxL) of times 1, 3/4, 1/2 and 1/8, in 4 steps.

    Of each token that is taught, the masked share that the teacher saw then, and the noise that it
    was told: it says them as log-probabilities.
    """
    round_ = Distillation(4, 2, name, "reverse")
    key_B, t_B = jax.random.split(jax.random.key(3), 4), jnp.array([1.0, 0.75, 0.5, 0.125])

    def teacher_fn(x_BxL, sigma_B):
        said_BxV = jnp.stack([(x_BxL == K).mean(-1), sigma_B, *[jnp.zeros(4)] * (K - 1)], -1)
        return jnp.broadcast_to(said_BxV[:, None], (*x_BxL.shape, K + 1))

    @jax.jit
    def go():
        x_BxL = round_.masked(GRAPH, key_B, jnp.zeros((4, length), jnp.int32), t_B)
        return x_BxL, round_.lesson(teacher_fn, GRAPH, NOISE, key_B, x_BxL, t_B)

    x_BxL, lesson = jax.device_get(go())
    said_BxLxK = lesson.log_p_BxLxK - lesson.log_p_BxLxK[..., -1:]
    return x_BxL, lesson.is_taught_BxL, said_BxLxK[..., 0], said_BxLxK[..., 1]


@pytest.mark.parametrize(
    ("name", "shares_3xB"),  # before the student's step, halfway and after it
    [
        ("euler", [(1, 0.75, 0.5, 0.125), (0.875, 0.625, 0.375, 0), (0.75, 0.5, 0.25, 0)]),
        ("spread", [(1, 0.924, 0.707, 0.195), (0.981, 0.831, 0.556, 0), (0.924, 0.707, 0.383, 0)]),
    ],
)
def test_the_teacher_goes_the_way_of_one_step_of_the_sampler(name, shares_3xB):
    length = 512
    x_BxL, is_taught_BxL, seen_BxL, told_BxL = way(name, length)
    is_masked_BxL, error = x_BxL == K, 0.08 if name == "euler" else 1 / length
    before_B, halfway_B, after_B = np.array(shares_3xB)
    np.testing.assert_allclose(is_masked_BxL.mean(-1), before_B, atol=error)
    np.testing.assert_allclose((is_masked_BxL & ~is_taught_BxL).mean(-1), after_B, atol=error)
    assert not (is_taught_BxL & ~is_masked_BxL).any()
    for b in range(4):
        shares = before_B[b], halfway_B[b]
        for said_BxL, atol in ((seen_BxL, error), (1 - np.exp(-told_BxL), 2e-3)):
            said = np.unique(said_BxL[b, is_taught_BxL[b]].round(5))
            expected = sorted(shares)[-len(said) :]  # nothing is left to a second step from 0 on
            np.testing.assert_allclose(said, np.minimum(expected, 1 - 1e-3), atol=max(atol, 2e-3))
            assert len(said) == 1 + (halfway_B[b] > 0)


def test_what_spread_teaches_lies_far_apart():
    _, is_taught_BxL, _, _ = way("spread", 16)
    places = np.flatnonzero(is_taught_BxL[2])
    assert len(places) >= 4 and np.diff(places).min() >= 2


@pytest.mark.parametrize(("steps", "name", "expected"), [
    (1, "euler", 1 / 2), (4, "euler", 7 / 8), (1, "spread", 2 / np.pi),
])  # fmt: skip
def test_each_token_counts_once_but_for_those_of_the_first_step(steps, name, expected):
    round_, num = Distillation(steps, 2, name, "reverse"), 500
    key_B, t_B = jax.random.split(jax.random.key(0), num), (jnp.arange(num) + 0.5) / num

    def teacher_fn(x_BxL, sigma_B):
        return jnp.zeros((*x_BxL.shape, K + 1))

    def student_fn(x_BxL, sigma_B):
        """Says what the teacher says, with a sum of scores e times as large as it should be."""
        log_score_B = 1 - jnp.log(K * jnp.expm1(sigma_B))
        return jnp.broadcast_to(log_score_B[:, None, None], (*x_BxL.shape, K + 1))

    @jax.jit
    def loss():
        x_BxL = round_.masked(GRAPH, key_B, jnp.zeros((num, 64), jnp.int32), t_B)
        lesson = round_.lesson(teacher_fn, GRAPH, NOISE, key_B, x_BxL, t_B)
        return round_.loss(student_fn, lesson, GRAPH, NOISE, x_BxL, t_B)

    of_a_token = loss().mean() / 64 / (np.e - 2)  # Z - 1 - log Z of Z = e
    np.testing.assert_allclose(of_a_token, expected, atol=0.02)
