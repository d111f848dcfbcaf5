"""Samples of an autoregressive model: its law, and what they depend on."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax import Model
from sedd_jax.conditions import Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.jobs.sample import sample
from sedd_jax.likelihood.exact import token_nats
from sedd_jax.network import next_token
from sedd_jax.network.decoding import Cache, read_token
from sedd_jax.sampling.generate import generate
from sedd_jax.sampling.settings import settle
from sedd_jax.sampling.tags import make_guide
from tests.sedd_jax.network.small import CONFIG, noisy_params
from tests.sedd_jax.toy import CODEC, write_dataset
from tests.sedd_jax.toy_run import make_run, write_run
from tokenizer_bridge.token_dataset.records import TokenDataset

AUTOREGRESSIVE = {"model__type": "autoregressive"}


@pytest.fixture(scope="module")
def model():
    return Model(*make_run(**AUTOREGRESSIVE), 0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_network_read_token_by_token_is_the_network(dtype):
    config = dataclasses.replace(CONFIG, causal=True, num_tags=2, compute_dtype=dtype)
    params, num_codes = noisy_params(config), config.vocab_size - 1
    tokens_BxL = np.random.default_rng(0).integers(0, num_codes, (3, config.length)).astype(int)
    condition = {"tags": np.array([[0], [1], [2]], np.int32)}
    whole = next_token.log_probs(config, params, jnp.asarray(tokens_BxL), condition=condition)
    step, cache = jax.jit(read_token, static_argnums=0), Cache.empty(config, 3, config.length)
    input_B = np.full(3, num_codes)
    for position in range(config.length):
        output_BxV, cache = step(config, params, input_B, position, cache, condition)
        found_BxK = jax.nn.log_softmax(output_BxV[:, :num_codes])
        tolerance = 1e-5 if dtype == "float32" else 0.05
        np.testing.assert_allclose(found_BxK, whole[:, position], atol=tolerance)
        input_B = tokens_BxL[:, position]


def test_sequences_come_as_often_as_the_model_says():
    codec = CODEC | {"codebook_size": 3}
    run, params = make_run(codec=codec, model__length=3, **AUTOREGRESSIVE)
    sequences_NxL = np.array(list(itertools.product(range(3), repeat=3)))
    prob_N = np.exp(-token_nats(run, params, sequences_NxL, batch_size=27).sum(1))
    tokens_MxL = Model(run, params, 0).sample(20_000, batch_size=4_000)
    count_N = np.bincount(tokens_MxL @ [9, 3, 1], minlength=27)
    expected_N = 20_000 * prob_N
    z_N = (count_N - expected_N) / np.sqrt(expected_N * (1 - prob_N))
    assert expected_N.min() > 20 and prob_N.max() > 3 * prob_N.min()
    assert np.abs(z_N).max() < 4.5


def test_a_sample_depends_on_its_seed_and_index_alone(model):
    run = model.definition
    tokens_NxL = model.sample(5, seed=3)
    assert len(np.unique(tokens_NxL, axis=0)) == 5
    np.testing.assert_array_equal(model.sample(3, seed=3, batch_size=2), tokens_NxL[:3])
    assert (model.sample(5, seed=4) != tokens_NxL).any()
    sharded, params = make_run(8, **AUTOREGRESSIVE, mesh__fsdp=4, mesh__tensor=2)
    np.testing.assert_array_equal(Model(sharded, params, 0).sample(5, seed=3), tokens_NxL)
    assert settle(run, seed=0).evaluations == model.length


def test_a_beginning_is_kept_and_a_long_piece_goes_on_window_by_window(model):
    first = model.sample(2, seed=1)
    is_known_NxL = np.broadcast_to(np.arange(model.length) < 6, first.shape)
    again = model.sample(2, seed=1, known=first, is_known=is_known_NxL)
    np.testing.assert_array_equal(again, first)  # the draws of a position are its own
    changed = (first + 1) % model.num_codes
    other = model.sample(2, seed=1, known=changed, is_known=is_known_NxL)
    np.testing.assert_array_equal(other[:, :6], changed[:, :6])
    assert (other[:, 6:] != first[:, 6:]).any()

    long = model.sample(2, seed=1, length=40)
    assert long.shape == (2, 40)
    np.testing.assert_array_equal(long[:, :16], first)
    assert model.sample(2, seed=1, length=5).tolist() == first[:, :5].tolist()


def test_draws_can_be_narrower(model):
    greedy = model.sample(2, top_k=1)
    np.testing.assert_array_equal(greedy[0], greedy[1])
    np.testing.assert_array_equal(model.sample(1, temperature=1e-6), greedy[:1])
    run, params = model.definition, model.params
    log_prob_BxLxK = next_token.log_probs(run.network, params, jnp.asarray(greedy, int))
    np.testing.assert_array_equal(log_prob_BxLxK.argmax(-1), greedy)


def test_what_it_cannot_do_is_refused_in_one_line(model):
    known, is_known = np.zeros(16, int), np.arange(16) > 9
    with pytest.raises(UserError, match="it cannot be given tokens that stand behind"):
        model.sample(1, known=known, is_known=is_known)
    for option in ({"sweeps": 2}, {"time": "schedule"}):
        with pytest.raises(UserError, match="sweeps and times of known tokens are for diffusion"):
            model.sample(1, known=known, is_known=~is_known, **option)
    for option in ({"steps": 4}, {"sampler": "euler"}, {"schedule": "cosine"}):
        with pytest.raises(UserError, match="no sampler, number of steps or schedule to choose"):
            model.sample(1, **option)


def test_the_job_stores_them(tmp_path):
    write_run(tmp_path / "run", write_dataset(tmp_path / "tokens"), **AUTOREGRESSIVE)
    store = sample(tmp_path / "run", tmp_path / "new", 3, seed=2, top_p=0.9)
    dataset = TokenDataset(store.path)
    (split,) = dataset.splits
    stored = np.stack([record.tokens for record in dataset.records(split)])
    wanted = Model.load(tmp_path / "run").sample(3, seed=2, top_p=0.9)
    np.testing.assert_array_equal(stored, wanted)
    assert (dataset.origin["sampler"], dataset.origin["steps"]) == ("ancestral", 16)


@pytest.fixture(scope="module")
def steered():
    """A model of two tags, three codes and three tokens, small enough to enumerate."""
    codec, vocabulary = CODEC | {"codebook_size": 3}, Vocabulary({"a---x": 9, "a---y": 9}, 2)
    run, params = make_run(codec=codec, vocabulary=vocabulary, model__length=3, **AUTOREGRESSIVE)
    params["condition"]["tags"]["embedding"] *= 10
    return Model(run, params, 0)


@pytest.mark.parametrize(
    ("guidance", "schedule"), [(2.0, "constant"), (0.5, "rising"), (0.0, "constant")]
)
def test_guidance_draws_each_token_from_the_mixed_law(steered, guidance, schedule):
    run, params = steered.definition, steered.params
    sequences_NxL = np.array(list(itertools.product(range(3), repeat=3)))

    def log_probs(tags):
        condition = run.vocabulary.condition([tags] * 27)
        return np.asarray(
            next_token.log_probs(run.network, params, sequences_NxL, condition=condition)
        )

    weight_1xLx1 = np.full((1, 3, 1), guidance)
    if schedule == "rising":  # from 1 at the first position towards what was asked for
        weight_1xLx1 = 1 + (guidance - 1) * np.arange(3)[None, :, None] / 3
    told, free = log_probs(["a---x"]), log_probs([])
    mixed_NxLxK = weight_1xLx1 * told + (1 - weight_1xLx1) * free
    mixed_NxLxK -= np.logaddexp.reduce(mixed_NxLxK, -1, keepdims=True)
    expected_N, told_N = (
        np.exp(np.take_along_axis(law, sequences_NxL[..., None], -1).sum((1, 2)))
        for law in (mixed_NxLxK, told)
    )
    assert np.abs(expected_N - told_N).sum() / 2 > 0.05  # guidance is something
    guide = make_guide(run.vocabulary, [["a---x"]] * 20_000, weight=guidance, schedule=schedule)
    sampling = settle(run, seed=0)
    batches = generate(run, params, sampling, np.arange(20_000), batch_size=5_000, guide=guide)
    tokens_MxL = np.concatenate([tokens for _, tokens in batches])
    count_N = np.bincount(tokens_MxL @ [9, 3, 1], minlength=27)
    z_N = (count_N - 20_000 * expected_N) / np.sqrt(20_000 * expected_N * (1 - expected_N))
    assert np.abs(z_N).max() < 4.5


def test_guidance_keeps_a_beginning_and_depends_on_seed_and_index_alone(steered):
    wish = {"tags": ["a---y"], "guidance": 3.0, "seed": 5}
    whole = steered.sample(4, **wish)
    np.testing.assert_array_equal(steered.sample(2, batch_size=1, **wish), whole[:2])
    is_known_NxL = np.broadcast_to(np.arange(3) < 2, whole.shape)
    given = steered.sample(4, known=2 - whole, is_known=is_known_NxL, **wish)
    np.testing.assert_array_equal(given[:, :2], 2 - whole[:, :2])
    sharded, params = make_run(
        4, vocabulary=steered.definition.vocabulary, codec=steered.codec, model__length=3,
        **AUTOREGRESSIVE, mesh__fsdp=4,
    )  # fmt: skip
    params["condition"]["tags"]["embedding"] *= 10
    np.testing.assert_array_equal(Model(sharded, params, 0).sample(4, **wish), whole)
