import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from sedd_jax.diffusion import sampler
from sedd_jax.diffusion.graph import Absorbing, Uniform
from sedd_jax.diffusion.jump import ReverseStep, pick
from sedd_jax.diffusion.noise import Geometric, LogLinear
from tests.sedd_jax.diffusion import toy

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


def probs_and_step(kind, graph, x_BxL, log_score_BxLxV, removed_B):
    """A step's published probabilities, and ours as a `ReverseStep`."""
    score_BxLxV = jnp.exp(log_score_BxLxV)
    if kind == "euler":
        probs, law = sampler.euler_probs(graph, score_BxLxV, x_BxL, removed_B, 1.0), graph.euler_law
    elif kind == "analytic":
        probs, law = sampler.analytic_probs(graph, score_BxLxV, x_BxL, removed_B), graph.tweedie_law
    else:
        probs, law = sampler.denoise_probs(graph, score_BxLxV, x_BxL, removed_B), graph.denoise_law
    return probs, ReverseStep.make(x_BxL, log_score_BxLxV, lambda s: law(x_BxL, s, removed_B))


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("kind", ["euler", "analytic", "denoise"])
# Small and large steps: the large one asks for more than all of the probability to jump.
@pytest.mark.parametrize("removed", [1e-3, 0.5])
def test_a_steps_law_is_the_published_one_with_nothing_negative(graph, kind, removed):
    x_BxL = tokens(graph)
    removed_B = jnp.full(3, removed)
    probs, step = probs_and_step(kind, graph, x_BxL, log_scores(graph, x_BxL), removed_B)
    expected = np.maximum(probs, 0) / np.maximum(probs, 0).sum(-1, keepdims=True)
    each_code = jnp.arange(graph.num_codes if kind == "denoise" else graph.vocab_size)
    log_prob = jax.vmap(lambda code: step.log_prob(jnp.full_like(x_BxL, code)), out_axes=-1)
    np.testing.assert_allclose(jnp.exp(log_prob(each_code)), expected, rtol=2e-4, atol=1e-7)
    if graph == Absorbing(NUM_CODES):
        assert (np.asarray(probs)[..., -1].min() < 0) == (kind != "denoise" and removed == 0.5)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("kind", ["euler", "analytic", "denoise"])
def test_draws_follow_the_law(graph, kind):
    x_BxL = tokens(graph)[:1, :2].at[0, 0].set(graph.num_codes - 1 + (graph.mask_id is not None))
    log_score_BxLxV = 3 * log_scores(graph, x_BxL)
    _, step = probs_and_step(kind, graph, x_BxL, log_score_BxLxV, jnp.full(1, 0.01))
    num = 100_000
    draws = jax.jit(jax.vmap(lambda key: step.draw(key[None])[0]))(keys(num))  # (num, 2)
    for position in range(2):
        share = np.bincount(draws[:, position], minlength=graph.vocab_size) / num
        code_V = jnp.arange(graph.vocab_size)[:, None]
        log_prob = jax.vmap(lambda code: step.log_prob(jnp.tile(code, (1, 2))))(code_V)
        p = np.exp(log_prob[:, 0, position])
        assert np.all(share[p == 0] == 0)
        # 5 standard errors and a bit for the rarest
        np.testing.assert_array_less(np.abs(share - p), 5 * np.sqrt(p / num) + 3 / num)


def test_pick_is_true_to_the_tail_and_never_takes_a_weight_of_zero():
    weight = np.full(4096, np.exp(-17.0), np.float32)
    weight[7], weight[100:200] = 1.0, 0.0
    num = 2_000_000
    u = (np.arange(num, dtype=np.float64) / num).astype(np.float32)
    index = np.asarray(jax.jit(jax.vmap(pick, (0, None)))(u[:, None], weight[None]))[:, 0]
    tail = np.sum(index != 7) / num
    np.testing.assert_allclose(tail, 3995 * np.exp(-17.0), rtol=0.02)
    assert not np.any((index >= 100) & (index < 200))
    almost_1 = jnp.full(1, 1 - 2**-24)
    assert pick(almost_1, jnp.array([[1.0, 0.1, 0.0, 0.0]])) == 1


@pytest.mark.parametrize("steps", [128, 1024])
@pytest.mark.parametrize("name", sampler.SAMPLERS)
def test_with_4096_codes_the_share_unmasked_in_a_step_is_exact(name, steps):
    graph, noise = Absorbing(4096), LogLinear()
    p = np.random.default_rng(0).dirichlet(np.ones(4096))

    def log_score_fn(x_BxL, sigma_B):
        """The exact score where every token is drawn from p, each on its own."""
        log_score_V = jnp.log(jnp.append(p, 1.0))
        ratio_B = -jnp.log(jnp.expm1(sigma_B))
        score_BxLxV = log_score_V[None, None] + ratio_B[:, None, None]
        return jnp.where(jnp.arange(4097)[None, None] == 4096, 0.0, score_BxLxV)

    mask_1x1 = jnp.full((1, 1), graph.mask_id)

    mask_1x1, num = jnp.full((1, 1), graph.mask_id), 2**22

    def draw(key, t):
        return sampler.step(name, graph, noise, log_score_fn, key[None], mask_1x1, t, 1 / steps)

    @jax.jit
    def count_unmasked(key, t):
        """Out of `num` draws of a step at one masked position, whose scores are computed once."""
        draws = jax.lax.map(
            lambda keys: jax.vmap(draw, (0, None))(keys, t),
            jax.random.split(key, (2**8, num // 2**8)),
        )
        return (draws != graph.mask_id).sum()

    # A token is masked with probability 0.999 t: a step unmasks dt / t of what is masked.
    times = np.array([1.0, 0.5, 0.25]) * 128 / steps
    unmasked = sum(int(count_unmasked(jax.random.key(i), t)) for i, t in enumerate(times))
    expected = num * np.sum(1 / steps / times)
    assert abs(unmasked / expected - 1) < 0.01
    assert expected > 100_000  # so that one standard error is below a third of that


SAMPLES = 200_000
TOY_CASES = [
    (Absorbing(toy.NUM_CODES), LogLinear(), "euler"),
    (Absorbing(toy.NUM_CODES), Geometric(1e-4, 20.0), "analytic"),
    (Uniform(toy.NUM_CODES), LogLinear(), "euler"),
    (Uniform(toy.NUM_CODES), LogLinear(), "analytic"),
]


def sample_toy(graph, noise, name, steps, num_samples, num_rows=20) -> jax.Array:
    log_score_fn = toy.log_score_fn(graph)

    @jax.jit
    def sample(key_B):
        x_BxL = sampler.start(graph, key_B, 3 * num_samples // num_rows)
        x_BxL = sampler.sample_chunk(
            name, graph, noise, log_score_fn, key_B, x_BxL, first=0, num=steps, steps=steps
        )
        return sampler.denoise_step(graph, noise, log_score_fn, key_B, x_BxL, steps=steps)

    # A faster generator than threefry: a minute of this test would go into random numbers.
    return sample(jax.random.split(jax.random.key(1, impl="rbg"), num_rows))


@pytest.mark.parametrize(("graph", "noise", "name"), TOY_CASES)
def test_samples_approach_the_truth_as_steps_grow(graph, noise, name):
    distance = []
    for steps in (4, 16, 64, 256):
        num_samples = SAMPLES if steps == 256 else SAMPLES // 4
        x_BxL = sample_toy(graph, noise, name, steps, num_samples)
        distance.append(np.abs(toy.histogram(x_BxL) - toy.joint()).sum() / 2)
    assert all(later < earlier for earlier, later in zip(distance, distance[1:], strict=False))
    assert distance[-1] < 0.02


@pytest.mark.parametrize(("graph", "noise", "name"), TOY_CASES)
def test_a_sample_depends_on_its_key_alone_and_not_on_chunks(graph, noise, name):
    log_score_fn, key_B, steps = toy.log_score_fn(graph), keys(8), 12

    def chunks(key_B, *lengths):
        x_BxL, first = sampler.start(graph, key_B, 30), 0
        for num in lengths:
            x_BxL = sampler.sample_chunk(
                name, graph, noise, log_score_fn, key_B, x_BxL, first=first, num=num, steps=steps
            )
            first += num
        return sampler.denoise_step(graph, noise, log_score_fn, key_B, x_BxL, steps=steps)

    whole = chunks(key_B, 12)
    np.testing.assert_array_equal(chunks(key_B, 5, 5, 2), whole)
    np.testing.assert_array_equal(chunks(key_B[3:4], 12), whole[3:4])
    assert len(np.unique(whole, axis=0)) == 8


@pytest.mark.parametrize("num_devices", [2, 8])
@pytest.mark.parametrize("graph", GRAPHS)
def test_draws_are_the_same_on_any_number_of_devices(graph, num_devices):
    assert jax.device_count() == 8

    def run(key_B):
        x_BxL = sampler.start(graph, key_B, 16)
        return sampler.sample_chunk(
            "euler", graph, LogLinear(), lambda x_BxL, sigma_B: log_scores(graph, x_BxL),
            key_B, x_BxL, first=0, num=6, steps=6,
        )  # fmt: skip

    rows = NamedSharding(Mesh(jax.devices()[:num_devices], ["data"]), PartitionSpec("data"))
    sharded = jax.jit(run, in_shardings=rows, out_shardings=rows)(keys(8))
    assert len(sharded.sharding.device_set) == num_devices
    np.testing.assert_array_equal(sharded, jax.jit(run)(keys(8)))


def test_denoising_leaves_no_mask_even_where_the_scores_are_tiny():
    graph, noise = Absorbing(NUM_CODES), LogLinear()
    mask_BxL = jnp.full((4, 1000), graph.mask_id)
    for level in (-60.0, 0.0, 30.0):

        def log_score_fn(x_BxL, sigma_B, level=level):
            return (
                log_scores(graph, x_BxL)
                + jnp.where(jnp.arange(graph.vocab_size) == graph.mask_id, 0.0, level)[None, None]
            )

        x_BxL = sampler.denoise_step(graph, noise, log_score_fn, keys(4), mask_BxL, steps=4)
        assert x_BxL.max() < graph.mask_id and x_BxL.min() >= 0
        known_BxL = jnp.arange(1000)[None].repeat(4, 0) % NUM_CODES
        same_BxL = sampler.denoise_step(graph, noise, log_score_fn, keys(4), known_BxL, steps=4)
        np.testing.assert_array_equal(same_BxL, known_BxL)


def test_unknown_sampler_is_refused():
    with pytest.raises(ValueError, match="sampling.sampler"):
        sampler.step("heun", GRAPHS[0], LogLinear(), None, keys(1), jnp.zeros((1, 3)), 0.5, 0.1)
