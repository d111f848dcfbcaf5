"""Samplers that choose which masked positions a step draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion import orders, sampler
from sedd_jax.diffusion.choices import TRAITS
from sedd_jax.diffusion.draws import Draws
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.guidance import Guided
from sedd_jax.diffusion.known import Known
from sedd_jax.diffusion.noise import LogLinear
from sedd_jax.diffusion.process import Process
from sedd_jax.diffusion.schedule import Steps
from tests.sedd_jax.diffusion import toy

GRAPH, NOISE = Absorbing(toy.NUM_CODES), LogLinear()
ROWS, ROTATIONS = 20_000, 300
NAMES = [name for name, traits in TRAITS.items() if traits.needs_mask]


def keys(num: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), num)


@functools.partial(jax.jit, static_argnames=("name", "steps", "num", "strength"))
def advance(name, key_B, x_BxL, first, steps, num, known=None, strength=None):
    """The toy's x after `num` steps from the first on."""
    return sampler.sample_chunk(
        name, GRAPH, NOISE, toy.log_score_fn(GRAPH), key_B, x_BxL,
        first=first, num=num, steps=steps, known=known, strength=strength,
    ).x_BxL  # fmt: skip


def sample(name, key_B, steps, length=3, num=None, **options) -> np.ndarray:
    """Samples of the toy, or what the first `num` steps make of the start."""
    x_BxL = sampler.start(GRAPH, key_B, length)
    return np.asarray(advance(name, key_B, x_BxL, 0, steps, num or steps, **options))


def distance(x_BxL, p) -> float:
    """The total variation between the triples of x and a law of them."""
    return np.abs(toy.histogram(x_BxL) - p).sum() / 2


def chance(p, num: int = ROWS) -> float:
    """The total variation to be expected between a law and so many draws of it."""
    return np.sqrt(p * (1 - p) / num * 2 / np.pi).sum() / 2


@pytest.mark.parametrize("name", ["spread", "first_hitting", "entropy"])
def test_one_position_a_step_is_exact_and_all_at_once_are_independent(name):
    p = toy.joint()
    assert distance(sample(name, keys(ROWS), 3, strength=0.0), p) < 1.5 * chance(p)
    marginals = p.sum((1, 2))[:, None, None] * p.sum((0, 2))[:, None] * p.sum((0, 1))
    x_BxL = sample(name, keys(ROWS), 1)
    assert distance(x_BxL, marginals) < 1.5 * chance(marginals)
    assert distance(x_BxL, p) > 0.5


def test_a_large_budget_of_entropy_draws_all_at_once():
    x_BxL = sample("entropy", keys(50), 3, num=1, strength=100.0)
    assert (x_BxL != GRAPH.mask_id).all()
    x_BxL = sample("entropy", keys(50), 3, num=1, strength=0.0)
    assert ((x_BxL != GRAPH.mask_id).sum(-1) == 1).all()


def test_masking_again_approaches_the_truth_and_confidence_does_not():
    p = toy.joint()
    coarse, fine = (distance(sample("remask", keys(ROWS), n, strength=0.1), p) for n in (4, 32))
    assert fine < coarse / 4 and fine < 0.07
    assert distance(sample("confidence", keys(ROWS), 3, strength=0.0), p) > 0.2


@pytest.mark.parametrize("name", NAMES)
def test_known_tokens_come_back_and_one_that_the_model_lacks_is_a_mask_until_then(name):
    tokens_BxL = np.array([[0, toy.NUM_CODES + 3, 2, 1, 3, 0]]).repeat(5, 0)
    is_known_BxL = np.array([[True, True, False, False, True, False]]).repeat(5, 0)
    known = Known(tokens_BxL, is_known_BxL)
    before = sample(name, keys(5), 2, length=6, known=known)
    assert ((before == GRAPH.mask_id) == (np.arange(6) == 1)).all()
    args = (name, GRAPH, NOISE, None, keys(5), before)
    x_BxL = np.asarray(sampler.finish(*args, steps=2, known=known).x_BxL)
    np.testing.assert_array_equal(x_BxL[is_known_BxL], tokens_BxL[is_known_BxL])
    assert (x_BxL[~is_known_BxL] < toy.NUM_CODES).all()


def test_the_others_are_drawn_given_the_known_ones():
    p, num = toy.joint(), ROWS // 2
    tokens_BxL = toy.draw(np.random.default_rng(0), (num, 3))
    for is_known_3 in ([True, False, False], [False, True, True]):
        is_known_BxL = np.broadcast_to(is_known_3, tokens_BxL.shape)
        x_BxL = sample("spread", keys(num), 2, known=Known(tokens_BxL, is_known_BxL))
        np.testing.assert_array_equal(x_BxL[is_known_BxL], tokens_BxL[is_known_BxL])
        assert distance(x_BxL, p) < 1.5 * chance(p, num) + 0.01  # and that of the known ones


@pytest.mark.parametrize("name", ["spread", "first_hitting"])
@pytest.mark.parametrize("time", ["masked_share", "schedule"])
def test_a_row_with_no_known_token_is_sampled_as_if_there_were_none(name, time):
    def told(known) -> list[float]:
        sigmas = []

        def fn(x_BxL, sigma_B):
            sigmas.append(float(sigma_B[0]))
            return toy.log_score_fn(GRAPH)(x_BxL, sigma_B)

        process = Process(GRAPH, NOISE, fn, None, known)
        key_B = keys(2)
        x_BxL = sampler.start(GRAPH, key_B, 3)
        for index in range(3):
            x_BxL = getattr(orders, name)(process, Steps(3), key_B, x_BxL, index).x_BxL
        return sigmas

    is_known_2x3 = jnp.array([[False] * 3, [True, False, False]])
    known = Known(jnp.zeros((2, 3), jnp.int32), is_known_2x3, time=time)
    assert told(known) == told(None)


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_depends_on_its_key_alone_and_not_on_chunks(name):
    whole = sample(name, keys(8), 4, length=30)
    assert whole.max() < GRAPH.mask_id and len(np.unique(whole, axis=0)) == 8
    np.testing.assert_array_equal(sample(name, keys(8)[3:4], 4, length=30), whole[3:4])
    x_BxL = sampler.start(GRAPH, keys(8), 30)
    for first in (0, 2):
        x_BxL = advance(name, keys(8), x_BxL, first, 4, 2)
    np.testing.assert_array_equal(x_BxL, whole)


@pytest.mark.parametrize("num", [1, 5, 16, 23])
def test_the_order_is_that_of_bit_reversal_turned_at_random(num):
    is_free_BxL = np.zeros((ROTATIONS, 23), bool)
    for b, row_L in enumerate(is_free_BxL):
        row_L[np.random.default_rng(b).permutation(23)[:num]] = True
    rank_BxL = np.asarray(orders.spread_ranks(keys(ROTATIONS), is_free_BxL))
    free_Bxn = rank_BxL[is_free_BxL].reshape(-1, num)
    np.testing.assert_array_equal(np.sort(free_Bxn, -1)[0], np.arange(num))
    assert (rank_BxL[~is_free_BxL] >= num).all()
    first_B = free_Bxn.argmin(-1)
    assert len(np.unique(first_B)) == num  # any may be the first
    for ranks_n, first in zip(free_Bxn, first_B, strict=True):
        turned_n = np.roll(ranks_n, -first)
        if num == 16:
            reversed_n = [int(f"{r:04b}"[::-1], 2) for r in range(16)]
            np.testing.assert_array_equal(turned_n, reversed_n)
        for drawn in range(2, num + 1):  # what is drawn so far lies evenly on the circle
            gaps = np.diff(np.flatnonzero(turned_n < drawn), append=num)
            assert gaps.max() <= 2 * gaps.min() + 1


@pytest.mark.parametrize("schedule", ["uniform", "cosine"])
@pytest.mark.parametrize("steps", [1, 4, 16, 40])
def test_every_step_draws_and_the_last_one_leaves_nothing(schedule, steps):
    grid, num_B = Steps(steps, schedule), jnp.array([0, 1, 7, 16, 1000])
    left = np.stack([grid.left(num_B, index) for index in range(steps + 1)])
    np.testing.assert_array_equal(left[0], num_B)
    assert not left[-1].any()
    drawn = -np.diff(left, axis=0)
    assert (drawn >= (left[:-1] > 0)).all()
    if schedule == "uniform" and steps == 4:
        np.testing.assert_array_equal(drawn[:, -1], [250] * 4)
    if schedule == "cosine" and steps == 4:
        np.testing.assert_array_equal(left[:, -1], [1000, 924, 707, 383, 0])


def slow_chain(rng, shape, stay, num_codes) -> np.ndarray:
    """Rows of a chain that keeps its code with probability `stay`, and else takes any; (B, L)."""
    x_BxL = rng.integers(num_codes, size=shape)
    for place in range(1, shape[1]):
        keeps_B = rng.random(shape[0]) < stay
        x_BxL[:, place] = np.where(keeps_B, x_BxL[:, place - 1], x_BxL[:, place])
    return x_BxL


def slow_chain_bits(x_BxL, is_seen_BxL, stay, num_codes) -> np.ndarray:
    """-log2 p(x_i | the tokens that are seen) of that chain, at each position (B, L)."""

    def towards(x_BxL, is_seen_BxL):  # how a code is favoured by the last one seen before it
        place_L = np.arange(x_BxL.shape[1])
        last_BxL = np.maximum.accumulate(np.where(is_seen_BxL, place_L, -1), axis=1)
        kept_BxL = np.where(last_BxL < 0, 0.0, stay ** (place_L - last_BxL))
        code_BxL = np.take_along_axis(x_BxL, np.maximum(last_BxL, 0), axis=1)
        is_code_BxLxK = code_BxL[..., None] == np.arange(num_codes)
        return kept_BxL[..., None] * is_code_BxLxK + (1 - kept_BxL[..., None]) / num_codes

    back = slice(None), slice(None, None, -1)
    p_BxLxK = towards(x_BxL, is_seen_BxL) * towards(x_BxL[back], is_seen_BxL[back])[back]
    p_BxLxK /= p_BxLxK.sum(-1, keepdims=True)
    return -np.log2(np.take_along_axis(p_BxLxK, x_BxL[..., None], axis=-1)[..., 0])


@pytest.mark.parametrize(
    "num, expected", [(8, (0.279, 0.159, 0.034)), (16, (0.113, 0.070, 0.0016))]
)
def test_what_few_steps_cost_on_a_markov_chain(num, expected):
    """The bits a token that drawing in parallel costs above the chain's own entropy."""
    stay, num_codes, rows, length = 0.9, 16, 64, 256
    chain = {"stay": stay, "num_codes": num_codes}
    x_BxL = slow_chain(np.random.default_rng(0), (rows, length), **chain)
    is_free_BxL = np.ones((rows, length), bool)

    @functools.partial(jax.jit, static_argnums=0)
    def are_drawn(steps, index):
        rank_BxL = orders.spread_ranks(keys(rows), is_free_BxL)
        return orders.are_due(steps, rank_BxL, is_free_BxL, index)

    def total(are_drawn_fn, num):
        is_seen_BxL, bits = ~is_free_BxL, 0.0
        for index in range(num):
            is_now_BxL = np.asarray(are_drawn_fn(index))
            bits += slow_chain_bits(x_BxL, is_seen_BxL, **chain)[is_now_BxL].sum()
            is_seen_BxL = is_seen_BxL | is_now_BxL
        assert is_seen_BxL.all()
        return bits / x_BxL.size

    def in_order(steps):
        return total(lambda index: are_drawn(steps, index), steps.num)

    def at_random(steps):
        place_BxL = np.random.default_rng(1).random((rows, length)).argsort(-1)
        left = [int(steps.left(jnp.array([length]), index)[0]) for index in range(steps.num + 1)]
        first, last = length - np.array(left[:-1]), length - np.array(left[1:])
        return total(lambda i: (place_BxL >= first[i]) & (place_BxL < last[i]), steps.num)

    own = total(lambda index: np.arange(length)[None].repeat(rows, 0) == index, length)
    measured = (
        at_random(Steps(num, "uniform")) - own,
        at_random(Steps(num, "cosine")) - own,
        in_order(Steps(num, "cosine")) - own,
    )
    np.testing.assert_allclose(measured, expected, rtol=0.02)
    if num == 16:
        assert abs(in_order(Steps(length, "cosine")) - own) < 1e-12  # one position a step


@pytest.mark.parametrize("name", [*NAMES, "trapezoidal"])
def test_scores_that_are_not_finite_are_told(name):
    score_fn, x_BxL = toy.log_score_fn(GRAPH), sampler.start(GRAPH, keys(3), 6)

    def log_score_fn(x_BxL, sigma_B):
        is_broken_Bx1x1 = (jnp.arange(3) == 1)[:, None, None]
        return jnp.where(is_broken_Bx1x1, jnp.nan, score_fn(x_BxL, sigma_B))

    args = (name, GRAPH, NOISE, log_score_fn, keys(3), x_BxL)
    is_defined_B = jax.jit(
        lambda: sampler.sample_chunk(*args, first=0, num=1, steps=2).is_defined_B
    )()
    np.testing.assert_array_equal(is_defined_B, [True, False, True])


@pytest.mark.parametrize("name", ["spread", "confidence", "trapezoidal"])
def test_guidance_and_narrow_draws_are_those_of_the_process(name):
    """Guided by itself a model is itself, and the most probable code is drawn alone."""
    score_fn, x_BxL = toy.log_score_fn(GRAPH), sampler.start(GRAPH, keys(20), 30)
    guided = Guided(lambda *args: (score_fn(*args),) * 2, lambda t: jnp.float32(3.0))

    @functools.partial(jax.jit, static_argnums=(0,))
    def draw(log_score_fn, draws):
        args = (name, GRAPH, NOISE, log_score_fn, keys(20), x_BxL)
        return sampler.sample_chunk(*args, first=0, num=1, steps=2, draws=draws).x_BxL

    plain = np.asarray(draw(score_fn, None))
    assert 0 < (plain == GRAPH.mask_id).mean() < 0.9
    assert (plain == np.asarray(draw(guided, None))).mean() > 0.99
    narrow = np.asarray(draw(guided, Draws(top_k=jnp.float32(1))))
    marginal_3x4 = np.stack([toy.joint().sum(axes) for axes in ((1, 2), (0, 2), (0, 1))])
    best_L = np.tile(marginal_3x4.argmax(-1), 10)
    # The second leap of trapezoidal knows what the first has drawn: here, what goes with the best.
    assert ((narrow == GRAPH.mask_id) | (narrow == best_L)).all()


def test_the_uniform_graph_and_unknown_names_are_refused():
    graph = Uniform(toy.NUM_CODES)
    args = (NOISE, None, keys(1), jnp.zeros((1, 3), jnp.int32))
    with pytest.raises(ValueError, match="no mask"):
        sampler.sample_chunk("spread", graph, *args, first=0, num=1, steps=1)
    with pytest.raises(ValueError, match="sampling.schedule"):
        sampler.sample_chunk("spread", GRAPH, *args, first=0, num=1, steps=1, schedule="sine")
