import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sedd_jax.diffusion import rates, sampler
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.jump import ReverseStep, make_step, pick
from sedd_jax.diffusion.noise import Geometric, LogLinear
from sedd_jax.diffusion.process import Process
from tests import published_sedd

NUM_CODES = 300  # more than one code a block, and a last slice that is not full
GRAPHS = [Absorbing(NUM_CODES), Uniform(NUM_CODES)]


def keys(num: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), num)


def log_scores(graph, x_BxL, seed=0) -> jax.Array:
    """Random log-scores, zero at x."""
    log_score_BxLxV = jax.random.normal(jax.random.key(seed), (*x_BxL.shape, graph.vocab_size)) - 1
    return jnp.where(jax.nn.one_hot(x_BxL, graph.vocab_size, dtype=bool), 0.0, log_score_BxLxV)


def tokens(graph) -> jax.Array:
    """x_BxL of both kinds, masked and not."""
    x0_BxL = jax.random.randint(jax.random.key(5), (3, 8), 0, graph.num_codes)
    return graph.perturb(keys(3, 6), x0_BxL, jnp.full(3, 0.7))


def step_of(graph, kind, x_BxL, log_score_BxLxV, removed_B) -> ReverseStep:
    law = {"euler": graph.euler_law, "analytic": graph.tweedie_law, "denoise": graph.denoise_law}
    return make_step(law[kind], x_BxL, log_score_BxLxV, removed_B)


@functools.partial(jax.jit, static_argnums=(0, 1))
def published_and_our_probs(graph, kind, x_BxL, log_score_BxLxV, removed_B):
    """A step's published probabilities, as they are, and those that we draw from; (B, L, codes)."""
    score_BxLxV = jnp.exp(log_score_BxLxV)
    if kind == "euler":
        published = published_sedd.euler_probs(graph, score_BxLxV, x_BxL, removed_B, 1.0)
    elif kind == "analytic":
        published = published_sedd.analytic_probs(graph, score_BxLxV, x_BxL, removed_B)
    else:
        published = published_sedd.denoise_probs(graph, score_BxLxV, x_BxL, removed_B)
    step = step_of(graph, kind, x_BxL, log_score_BxLxV, removed_B)
    log_prob = jax.vmap(lambda code: step.log_prob(jnp.full_like(x_BxL, code)), out_axes=-1)
    return published, jnp.exp(log_prob(jnp.arange(published.shape[-1])))


def draw_many(step, key, num) -> jax.Array:
    """`num` draws of a step whose scores are computed once, (chunks, num / chunks, 1, L)."""
    keys = jax.random.split(key, (num // 2**14, 2**14))
    draw = jax.vmap(lambda key: step.draw(key[None]))
    return jax.jit(lambda keys: jax.lax.map(draw, keys))(keys)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("kind", ["euler", "analytic", "denoise"])
def test_a_steps_law_is_the_published_one_with_nothing_negative(graph, kind):
    x_BxL = tokens(graph)
    # A small step, and one that asks for more than all of the probability to jump.
    for removed in (1e-3, 0.5):
        published, ours = published_and_our_probs(
            graph, kind, x_BxL, log_scores(graph, x_BxL), jnp.full(3, removed)
        )
        expected = np.maximum(published, 0)
        expected /= expected.sum(-1, keepdims=True)
        np.testing.assert_allclose(ours, expected, rtol=2e-4, atol=1e-7)
    if graph == Absorbing(NUM_CODES):
        assert (published.min() < 0) == (kind != "denoise")


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("kind", ["euler", "analytic", "denoise"])
def test_draws_follow_the_law(graph, kind):
    x_1x2 = jnp.array([[graph.vocab_size - 1, 5]])  # for absorbing, the mask and a code
    log_score_1x2xV = 3 * log_scores(graph, x_1x2)
    arguments = graph, kind, x_1x2, log_score_1x2xV, jnp.full(1, 0.01)
    probs = np.asarray(published_and_our_probs(*arguments)[1])[0]
    num = 2**17
    draws = np.asarray(draw_many(step_of(*arguments), jax.random.key(0), num)).reshape(num, 2)
    for p, drawn in zip(probs, draws.T, strict=True):
        share = np.bincount(drawn, minlength=len(p)) / num
        assert not np.any(share[p == 0])
        # 5 standard errors, and a little for the rarest.
        np.testing.assert_array_less(np.abs(share - p), 5 * np.sqrt(p / num) + 3 / num)


def test_the_tail_is_drawn_as_often_as_is_due_and_evenly():
    graph, num = Absorbing(4096), 2**23
    x_1x1 = jnp.full((1, 1), graph.mask_id)
    log_score_V = jnp.full(graph.vocab_size, -17.0).at[7].set(0.0)
    step = step_of(graph, "denoise", x_1x1, log_score_V[None, None], jnp.full(1, 0.1))
    draws = np.asarray(draw_many(step, jax.random.key(0), num))
    tail = draws[draws != 7]
    due = num * 4095 / (np.exp(17) + 4095)
    assert abs(len(tail) - due) < 4 * np.sqrt(due)
    distinct = 4095 * -np.expm1(-due / 4095)
    assert abs(len(np.unique(tail)) - distinct) < 4 * np.sqrt(distinct)


def test_pick_never_takes_a_weight_of_zero():
    weight_3x4 = jnp.array([[1.0, 0.1, 0.0, 0.0], [0.0, 1e-30, 0.0, 1.0], [0.0, 0.0, 3.0, 0.0]])
    np.testing.assert_array_equal(pick(jnp.full(3, 1 - 2**-24), weight_3x4), [1, 3, 2])
    np.testing.assert_array_equal(pick(jnp.zeros(3), weight_3x4), [0, 1, 2])


@pytest.mark.parametrize(
    ("steps", "times", "chunks"), [(128, (1.0, 0.5, 0.25), 64), (1024, (0.5, 0.25, 0.125), 256)]
)
@pytest.mark.parametrize("name", ["euler", "analytic"])
def test_with_4096_codes_the_share_unmasked_in_a_step_is_exact(name, steps, times, chunks):
    graph, noise = Absorbing(4096), LogLinear()
    p = np.random.default_rng(0).dirichlet(np.ones(4096))

    def log_score_fn(x_BxL, sigma_B):
        """The exact score where every token is drawn from p, each on its own."""
        log_score_V = jnp.log(jnp.append(p, 1.0))
        ratio_B = -jnp.log(jnp.expm1(sigma_B))
        score_BxLxV = log_score_V[None, None] + ratio_B[:, None, None]
        return jnp.where(jnp.arange(4097)[None, None] == 4096, 0.0, score_BxLxV)

    process = Process(graph, noise, log_score_fn)
    mask_1x1, num = jnp.full((1, 1), graph.mask_id), 2**14 * chunks

    def draw(key, t):
        key_1 = key[None]
        step = rates.reverse_step(name, process, mask_1x1, t, 1 / steps)
        return step.draw(key_1)

    @jax.jit
    def count_unmasked(key, t):
        """Out of `num` draws of a step at one masked position, whose scores are computed once."""
        keys = jax.random.split(key, (chunks, num // chunks))
        draws = jax.lax.map(lambda keys: jax.vmap(draw, (0, None))(keys, t), keys)
        return (draws != graph.mask_id).sum()

    # A token is masked with probability 0.999 t: a step unmasks dt / t of what is masked.
    unmasked = sum(int(count_unmasked(jax.random.key(i), t)) for i, t in enumerate(times))
    expected = num * sum(1 / steps / t for t in times)
    assert abs(unmasked / expected - 1) < 0.01
    assert expected > 50_000  # so that a standard error is below half of that


@pytest.mark.parametrize("graph", GRAPHS)
def test_draws_are_the_same_on_any_number_of_devices(graph):
    def run(key_B):
        x_BxL = sampler.start(graph, key_B, 16)
        return sampler.sample_chunk(
            "euler", graph, LogLinear(), lambda x_BxL, sigma_B: log_scores(graph, x_BxL),
            key_B, x_BxL, first=0, num=6, steps=6,
        ).x_BxL  # fmt: skip

    expected = jax.jit(run)(keys(8))
    for num_devices in (2, 8):
        rows = NamedSharding(Mesh(jax.devices()[:num_devices], ["data"]), PartitionSpec("data"))
        x_BxL = jax.jit(run, in_shardings=rows, out_shardings=rows)(keys(8))
        assert len(x_BxL.sharding.device_set) == num_devices
        np.testing.assert_array_equal(x_BxL, expected)


def test_denoising_leaves_no_mask_even_where_the_scores_are_tiny():
    graph, noise = Absorbing(NUM_CODES), LogLinear()
    mask_BxL = jnp.full((4, 1000), graph.mask_id)
    known_BxL = jnp.arange(1000)[None].repeat(4, 0) % NUM_CODES

    @jax.jit
    def denoise(x_BxL, level):
        def log_score_fn(x_BxL, sigma_B):
            is_mask_V = jnp.arange(graph.vocab_size) == graph.mask_id
            return log_scores(graph, x_BxL) + jnp.where(is_mask_V, 0.0, level)[None, None]

        return sampler.finish("euler", graph, noise, log_score_fn, keys(4), x_BxL, steps=4).x_BxL

    for level in (-60.0, 0.0, 30.0):
        x_BxL = denoise(mask_BxL, level)
        assert x_BxL.max() < graph.mask_id and x_BxL.min() >= 0
        np.testing.assert_array_equal(denoise(known_BxL, level), known_BxL)


@pytest.mark.parametrize("name", ["euler", "analytic"])
def test_steps_run_evenly_from_one_to_eps_each_with_a_key_of_its_own(name, monkeypatch):
    noise, eps, length = LogLinear(), 0.2, 5
    sigmas, removed, key_data = [], [], []

    class Spy(Absorbing):
        def euler_law(self, x_BxL, score_sum_BxL, dsigma_B):
            removed.append(float(dsigma_B[0]))
            return super().euler_law(x_BxL, score_sum_BxL, dsigma_B)

        def sample_limit(self, key_B, length):
            key_data.append(tuple(jax.random.key_data(key_B)[0].tolist()))
            return super().sample_limit(key_B, length)

    def log_score_fn(x_BxL, sigma_B):
        sigmas.append(float(sigma_B[0]))
        return jnp.zeros((*x_BxL.shape, 4))

    def draw(self, key_B):
        key_data.append(tuple(jax.random.key_data(key_B)[0].tolist()))
        return self.x_BxL

    monkeypatch.setattr(ReverseStep, "draw", draw)
    graph, key_1 = Spy(3), keys(1)
    with jax.disable_jit():  # so that a scan shows its values
        x_1xL = sampler.start(graph, key_1, length)
        for first in (0, 2):
            x_1xL = sampler.sample_chunk(
                name, graph, noise, log_score_fn, key_1, x_1xL,
                first=jnp.int32(first), num=2, steps=4, eps=eps,
            ).x_BxL  # fmt: skip
        sampler.finish(name, graph, noise, log_score_fn, key_1, x_1xL, steps=4, eps=eps)
    t = np.array([1.0, 0.8, 0.6, 0.4, eps])
    sigma, dsigma = noise(t)
    np.testing.assert_allclose(sigmas, sigma, rtol=1e-5)
    left = 0.2 * dsigma[:-1] if name == "euler" else jnp.expm1(sigma[:-1] - sigma[1:])
    np.testing.assert_allclose(removed, left, rtol=1e-4)
    assert len(set(key_data)) == len(key_data) == 6


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("name", ["euler", "analytic"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_rows_drawn_from_weights_that_are_not_finite_are_told(graph, name, value):
    """One position of one row at the second of four steps, and one row at denoising, in a jit."""

    def log_score_fn(broken_at):
        def fn(x_BxL, sigma_B):
            # Broken as a network is that breaks: in a row, at one noise level.
            now_B = (jnp.arange(3) == 1) & jnp.isclose(sigma_B, broken_at)
            return jnp.where(now_B[:, None, None], value, log_scores(graph, x_BxL))

        return fn

    noise, eps, steps = LogLinear(), 1e-5, 4
    x_BxL = sampler.start(graph, keys(3), 8)

    @jax.jit
    def chunk(broken_at):
        return sampler.sample_chunk(
            name, graph, noise, log_score_fn(broken_at), keys(3), x_BxL, first=0, num=3, steps=steps
        ).is_defined_B

    @jax.jit
    def denoise(broken_at):
        return sampler.finish(
            name, graph, noise, log_score_fn(broken_at), keys(3), x_BxL, steps=steps
        ).is_defined_B

    second, last = noise(jnp.array([eps + 0.75 * (1 - eps), eps])).sigma
    np.testing.assert_array_equal(chunk(second), [True, False, True])
    np.testing.assert_array_equal(denoise(last), [True, False, True])
    assert chunk(-1.0).all() and denoise(-1.0).all()


def test_scores_of_what_cannot_jump_do_not_matter():
    graph = Absorbing(NUM_CODES)
    x_1x2 = jnp.array([[3, graph.mask_id]])
    log_score_1x2xV = log_scores(graph, x_1x2).at[0, 0].set(jnp.inf)
    step = step_of(graph, "denoise", x_1x2, log_score_1x2xV, jnp.full(1, 0.1))
    np.testing.assert_array_equal(step.is_defined(), [[True, True]])
    assert step.draw(keys(1))[0, 0] == 3 and step.log_prob(x_1x2)[0, 0] == 0
    none = step_of(graph, "denoise", x_1x2, jnp.full_like(log_score_1x2xV, -200), jnp.full(1, 1))
    np.testing.assert_array_equal(none.is_defined(), [[True, False]])  # nothing has any weight


@pytest.mark.parametrize(
    ("graph", "noise", "alike"),
    [
        (Absorbing(NUM_CODES), LogLinear(), True),
        (Absorbing(NUM_CODES), Geometric(1e-4, 20.0), False),
        (Uniform(NUM_CODES), LogLinear(), False),
    ],
)
def test_both_samplers_are_one_for_the_absorbing_graph_with_loglinear_noise(graph, noise, alike):
    """The same keys give the same tokens, up to draws within rounding of their threshold."""
    key_B, steps = keys(4), 4

    def log_score_fn(x_BxL, sigma_B):
        ratio_B = -jnp.log(jnp.expm1(sigma_B)) - np.log(NUM_CODES)
        level_B = ratio_B if graph == Absorbing(NUM_CODES) else jnp.zeros_like(ratio_B)
        return log_scores(graph, x_BxL) + 0.5 + level_B[:, None, None]  # random ones sum to 1

    @functools.partial(jax.jit, static_argnums=0)
    def sample(name):
        x_BxL = sampler.start(graph, key_B, 256)
        return sampler.sample_chunk(
            name, graph, noise, log_score_fn, key_B, x_BxL, first=0, num=steps - 1, steps=steps
        ).x_BxL

    euler_BxL, analytic_BxL = sample("euler"), sample("analytic")
    start_BxL = sampler.start(graph, key_B, 256)
    assert (euler_BxL != start_BxL).mean() > 0.3
    assert not alike or (euler_BxL == graph.mask_id).mean() > 0.05  # some are still to move
    differ = (euler_BxL != analytic_BxL).mean()
    assert differ < 0.005 if alike else differ > 0.02


def test_unknown_sampler_is_refused():
    with pytest.raises(ValueError, match="sampling.sampler"):
        sampler.finish("heun", GRAPHS[0], LogLinear(), None, keys(1), jnp.zeros((1, 3)), steps=4)
