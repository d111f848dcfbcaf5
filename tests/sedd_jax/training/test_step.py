import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from sedd_jax.conditions import VectorKind, Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.model import Stream, build
from sedd_jax.network import gelu, norm, transformer
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.training import step as step_lib
from tests.sedd_jax.toy import CODEC, NUM_CODES, toy_config


@pytest.fixture(scope="module")
def toy_run():
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    return build(toy_config(model__dropout=0.3), CODEC, mesh)


@pytest.fixture(scope="module")
def params(toy_run):
    """Parameters with a head that is not zero, so that every gradient is something."""
    params = toy_run.fresh_state().params
    keys = iter(jax.random.split(jax.random.key(1), 100))
    return jax.tree.map(lambda p: p + 0.1 * jax.random.normal(next(keys), p.shape), params)


def tokens(batch_size):
    return jax.random.randint(jax.random.key(5), (batch_size, 16), 0, NUM_CODES)


def with_accumulation(run, accumulation):
    config = toy_config(model__dropout=0.3, training__accumulation=accumulation)
    return dataclasses.replace(run, config=config)


def test_accumulated_gradients_are_those_of_the_whole_batch(toy_run, params):
    results = []
    for accumulation in (1, 4):
        run = with_accumulation(toy_run, accumulation)
        batch = step_lib.draw(run, jax.random.key(7), tokens(8))
        results.append(jax.jit(functools.partial(step_lib.loss_and_grads, run))(params, batch))
    chex.assert_trees_all_close(*results, rtol=1e-4, atol=1e-4)
    assert results[0][0] == pytest.approx(float(results[1][0]), rel=1e-6)


def losses(**model):
    """The losses of 10 steps of a small run."""
    config = toy_config(
        model__num_blocks=2, model__dropout=0.2, **{f"model__{k}": v for k, v in model.items()}
    )
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    run = build(config, CODEC, mesh)
    step, state, values = step_lib.jit_train_step(run), run.fresh_state(), []
    for i in range(10):
        state, metrics = step(state, jnp.roll(tokens(8), i, axis=1))
        values.append(float(metrics["loss"]))
    return np.array(values)


def test_what_makes_a_step_faster_leaves_the_losses_as_they_are(monkeypatch):
    """Gradients of norm and GELU written by hand, and blocks that are no loop, in fp32."""
    ours = losses()
    np.testing.assert_allclose(losses(unroll="on"), ours, rtol=1e-5)
    with monkeypatch.context() as patch:
        patch.setattr(norm, "_modulated_norm", lambda *given: norm._forward(*given)[0])
        patch.setattr(transformer, "biased_gelu", gelu._biased_gelu)
        by_autodiff = losses()
    assert ours[0] == by_autodiff[0]
    np.testing.assert_allclose(ours, by_autodiff, rtol=1e-5)


def test_span_masks_change_their_share_of_rows_and_nothing_else(toy_run, params):
    x0_BxL, key = tokens(200), jax.random.key(3)
    spans = dataclasses.replace(toy_run, config=toy_config(training__span_masks=0.5))
    plain, mixed = (step_lib.draw(run, key, x0_BxL) for run in (toy_run, spans))
    same_B = np.asarray(plain.xt_BxL == mixed.xt_BxL).all(-1)
    assert 0.4 < same_B.mean() < 0.75  # some rows with spans come out as they were
    assert 0.4 < (plain.t_B == mixed.t_B).mean() < 0.6
    mask_id = toy_run.graph.mask_id
    assert ((mixed.xt_BxL == x0_BxL) | (mixed.xt_BxL == mask_id)).all()
    assert np.isfinite(step_lib.mean_loss(spans, params, mixed))


@pytest.mark.parametrize(
    "overrides",
    [
        {"loss__type": "conditional"},
        {"loss__type": "masked", "noise__type": "geometric", "loss__times": "masked_share"},
    ],
)
def test_each_parametrisation_learns_with_tags(overrides):
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    vocabulary = Vocabulary({"genre---jig": 5, "genre---reel": 4}, 1)
    run = build(toy_config(**overrides), CODEC, mesh, vocabulary)
    state, step = run.fresh_state(), step_lib.compile_train_step(run)
    x0_BxL = jnp.tile(jnp.arange(16)[None], (8, 1))
    condition = run.vocabulary.condition([("genre---jig",)] * 8)
    losses = []
    for _ in range(20):
        state, metrics = step(state, x0_BxL, condition)
        losses.append(float(metrics["nats_per_token"]))
    assert np.mean(losses[10:]) < 0.9 * np.mean(losses[:10])
    assert np.any(state.params["condition"]["tags"]["embedding"][0])  # a gradient got there


def paths(tree):
    return {mesh_lib.path_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)}


def test_what_is_not_trained_has_no_gradient_and_no_moments_and_stays():
    """On one device, and on 8 with microbatches: the same rows draw high noise on both."""
    results = []
    for accumulation, sizes in ((1, (1, 1)), (2, (4, 2))):
        mesh = mesh_lib.make_mesh(
            dict(zip(mesh_lib.AXES, (*sizes, 1), strict=True)), jax.devices()[: np.prod(sizes)]
        )
        overrides = {
            "training__accumulation": accumulation,
            "optim__trainable": ("adaLN", "output_layer/linear"),
            "training__batch_size": 16,
            "training__high_noise_share": 0.25,
            "model__dropout": 0.3,
        }
        run = build(toy_config(**overrides), CODEC, mesh)
        state, step = run.fresh_state(), step_lib.compile_train_step(run)
        before = jax.device_get(state)
        batch = jax.device_put(tokens(16), mesh_lib.batch_sharding(mesh))
        for _ in range(3):  # the head starts at zero, and hides what leads to it
            state, metrics = step(state, batch)
        results.append((float(metrics["grad_norm"]), jax.device_get(state.params)))

    layers = ("blocks/adaLN", "output_layer/adaLN", "output_layer/linear")
    trained = {f"{layer}/{name}" for layer in layers for name in ("kernel", "bias")}
    assert paths(state.opt_state[0].mu) == paths(state.opt_state[0].nu) == trained
    for old, new in ((before.params, state.params), (before.ema_params, state.ema_params)):
        old, new = (flatten_dict(tree, sep="/") for tree in (old, jax.device_get(new)))
        assert {path for path, x in old.items() if (x != new[path]).any()} == trained
    (norm, params), (other_norm, other_params) = results
    assert other_norm == pytest.approx(norm, rel=1e-4)
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=0.02, atol=1e-4), params, other_params
    )


def test_a_name_of_no_parameter_is_refused_with_those_that_there_are(toy_run):
    config = toy_config(optim__trainable=("adaLN", "condition"))
    with pytest.raises(UserError, match="'condition' is part of no parameter's path") as caught:
        dataclasses.replace(toy_run, config=config).state_shapes()
    assert "blocks/adaLN/kernel, " in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def draw(toy_run):
    return jax.jit(functools.partial(step_lib.draw, toy_run))


def test_what_a_row_draws_is_its_own(draw):
    x0_BxL = tokens(8)
    batch = draw(jax.random.key(7), x0_BxL)
    again = draw(jax.random.key(7), x0_BxL.at[0].set(3))
    np.testing.assert_array_equal(batch.t_B, again.t_B)
    np.testing.assert_array_equal(batch.xt_BxL[1:], again.xt_BxL[1:])
    other = draw(jax.random.key(8), x0_BxL)
    assert (batch.t_B != other.t_B).all()
    keys = jax.random.key_data(batch.dropout_key_B)
    assert len(np.unique(keys, axis=0)) == 8


def test_times_are_stratified_over_the_whole_batch_and_over_each_microbatch(draw):
    batch = draw(jax.random.key(7), tokens(64))
    for t_b, n in [(batch.t_B, 64), (batch.t_B[::4], 16)]:
        assert np.bincount(((t_b - 1e-3) / 0.999 * n).astype(int), minlength=n).max() <= 2
        assert np.ptp(np.diff(np.sort(t_b))) < 1e-4


def test_streams_share_no_key(toy_run):
    keys = [toy_run.stream_key(stream) for stream in Stream]
    keys += [jax.random.fold_in(key, step) for key in keys for step in range(10)]
    data = np.stack([jax.random.key_data(key) for key in keys])
    assert len(np.unique(data, axis=0)) == len(keys)


def test_step_is_a_function_of_state_and_batch(toy_run):
    step = jax.jit(lambda state, x0: step_lib.train_step(toy_run, state, x0))
    state = toy_run.fresh_state()
    first, first_metrics = step(state, tokens(8))
    second, second_metrics = step(state, tokens(8))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), first, second))
    assert int(first.step) == 1
    # The next step draws other noise for the same batch.
    _, next_metrics = step(dataclasses.replace(state, step=jnp.int32(1)), tokens(8))
    assert float(next_metrics["loss"]) != float(first_metrics["loss"])
    expected = first_metrics["loss"] / 16
    assert first_metrics["nats_per_token"] == pytest.approx(float(expected))


@pytest.fixture(scope="module")
def conditional():
    """A run that knows 3 tags, two a row at most, and a kind of vectors."""
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    vocabulary = Vocabulary(
        {"g---a": 1, "g---b": 1, "g---c": 1}, max_tags=2, vectors={"clip": VectorKind(2)}
    )
    config = toy_config(model__dropout=0.3, conditioning__categories=("g",))
    return build(config, CODEC, mesh, vocabulary)


def told(batch_size):
    """The condition of rows, of which every other one has no vector."""
    half = batch_size // 2
    return {
        "tags": jnp.tile(jnp.array([[0, 2], [1, 3]]), (half, 1)),  # 3: no tag
        "vectors": {"clip": jnp.tile(jnp.array([[0.5, -1.0, 1.0], [0.0, 0.0, 0.0]]), (half, 1))},
    }


def test_tags_are_left_out_all_together_and_one_by_one(conditional):
    draw = jax.jit(functools.partial(step_lib.draw, conditional))
    x0_BxL, condition = jnp.zeros((20_000, 1), jnp.int32), told(20_000)
    batch = draw(jax.random.key(7), x0_BxL, condition)
    kept_BxN = np.asarray(batch.condition["tags"] == condition["tags"])[::2]  # rows of two tags
    assert set(np.unique(batch.condition["tags"])) == {0, 1, 2, 3}
    both, first, neither = 0.9 * 0.9**2, 0.9 * 0.9 * 0.1, 0.1 + 0.9 * 0.1**2
    shares = [kept_BxN.all(1), kept_BxN[:, 0] & ~kept_BxN[:, 1], ~kept_BxN.any(1)]
    for share_B, expected in zip(shares, (both, first, neither), strict=True):
        error = np.sqrt(expected * (1 - expected) / len(share_B))
        assert abs(share_B.mean() - expected) < 4 * error
    # The rest is drawn as without tags, and a row's tags are left out whatever the others are.
    plain = draw(jax.random.key(7), x0_BxL)
    np.testing.assert_array_equal(plain.xt_BxL, batch.xt_BxL)
    np.testing.assert_array_equal(*map(jax.random.key_data, (plain[3], batch[3])))
    half = draw(jax.random.key(7), x0_BxL[:10], jax.tree.map(lambda x: x[:10], condition))
    np.testing.assert_array_equal(half.condition["tags"], batch.condition["tags"][:10])


def test_vectors_are_left_out_with_the_tags_and_one_by_one():
    kinds = {"clip": VectorKind(2), "speaker": VectorKind(1)}
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    run = build(toy_config(), CODEC, mesh, Vocabulary({"g---a": 1}, 1, kinds))
    condition = {
        "tags": jnp.zeros((20_000, 1), jnp.int32),
        "vectors": {"clip": jnp.ones((20_000, 3)), "speaker": jnp.ones((20_000, 2))},
    }
    key_B = jax.random.split(jax.random.key(3), 20_000)
    left = jax.jit(functools.partial(step_lib.drop_conditions, run))(key_B, condition)
    clip_BxW1 = np.asarray(left["vectors"]["clip"])
    assert (clip_BxW1 == clip_BxW1[:, :1]).all()  # the whole of it, with its being there
    kept = [clip_BxW1[:, 0] == 1, left["vectors"]["speaker"][:, 0] == 1, left["tags"][:, 0] == 0]
    kept_3xB = np.stack([np.asarray(kept_B) for kept_B in kept])
    shares = [kept_3xB.all(0), ~kept_3xB.any(0), kept_3xB[0] & ~kept_3xB[1]]
    for share_B, expected in zip(shares, (0.9**4, 0.1 + 0.9 * 0.1**3, 0.9**2 * 0.1), strict=True):
        error = np.sqrt(expected * (1 - expected) / len(share_B))
        assert abs(share_B.mean() - expected) < 4 * error


def test_a_conditional_run_starts_as_the_unconditional_one_and_learns_its_tags(
    toy_run, conditional
):
    state = conditional.fresh_state()
    step = step_lib.jit_train_step(conditional)
    plain_state, plain = step_lib.jit_train_step(toy_run)(toy_run.fresh_state(), tokens(8))
    state, metrics = step(state, tokens(8), told(8))
    assert float(metrics["loss"]) == float(plain["loss"])
    for _ in range(3):  # the head, then what leads to it, starts at zero
        state, metrics = step(state, tokens(8), told(8))
    table_TxC = np.asarray(state.params["condition"]["tags"]["embedding"])
    assert (np.abs(table_TxC).max(axis=1) > 0).all()
    assert not np.any(np.asarray(state.ema_params["condition"]["tags"]["embedding"]) == table_TxC)
    kernel_W1xC = np.asarray(state.params["condition"]["vectors"]["clip"]["kernel"])
    assert (np.abs(kernel_W1xC).max(axis=1) > 0).all()


def test_a_conditional_step_accumulates_and_shards_as_any_other(conditional):
    results = []
    for accumulation, devices in ((1, 1), (2, 1), (2, 8)):
        config = conditional.config.copy_and_resolve_references()
        config.training.accumulation = accumulation
        mesh = mesh_lib.make_mesh(
            {"data": -1, "fsdp": 1 if devices == 1 else 2, "tensor": 1}, jax.devices()[:devices]
        )
        run = build(config, CODEC, mesh, conditional.vocabulary)
        step = step_lib.compile_train_step(run)
        state, place = run.fresh_state(), mesh_lib.batch_sharding(mesh)
        for _ in range(4):
            batch = jax.device_put((tokens(16)[:8], told(8)), place)
            state, metrics = step(state, *batch)
        results.append((float(metrics["loss"]), jax.device_get(state.params["condition"])))
    for loss, condition in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-4)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=0.02, atol=1e-4),
            condition,
            results[0][1],
        )
