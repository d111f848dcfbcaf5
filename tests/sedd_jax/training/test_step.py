import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.model import Stream, build
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
    for whole, accumulated in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(accumulated, whole, rtol=1e-4, atol=1e-4)
    assert results[0][0] == pytest.approx(float(results[1][0]), rel=1e-6)


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
