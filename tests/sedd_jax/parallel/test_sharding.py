"""What is computed does not depend on the mesh. 8 simulated devices."""

import functools

import jax
import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.model import build
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.sampling.generate import generate
from sedd_jax.sampling.settings import Sampling
from sedd_jax.training.step import compile_train_step
from tests.sedd_jax.toy import CODEC, NUM_CODES, toy_config
from tests.sedd_jax.toy_run import make_run

MESHES = [(8, 1, 1), (2, 4, 1), (2, 2, 2)]
STEPS, ROWS, LENGTH = 10, 16, 16
CONFIG = toy_config(training__batch_size=ROWS, model__num_blocks=2)


def make_mesh(shape):
    sizes = dict(zip(mesh_lib.AXES, shape, strict=True))
    return mesh_lib.make_mesh(sizes, jax.devices()[: int(np.prod(shape))])


@functools.cache
def fresh_state():
    """The state from which all runs here start, on the host."""
    return jax.device_get(build(CONFIG, CODEC, make_mesh((1, 1, 1))).fresh_state())


def losses(shape, accumulation=1) -> np.ndarray:
    config = CONFIG.copy_and_resolve_references()
    config.training.accumulation = accumulation
    run = build(config, CODEC, make_mesh(shape))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, run.state_shapes())
    state = jax.device_put(fresh_state(), shardings)
    step = compile_train_step(run)
    sharding = mesh_lib.batch_sharding(run.mesh)
    rng = np.random.default_rng(0)
    values = []
    for _ in range(STEPS):
        tokens_BxL = rng.integers(0, NUM_CODES, (ROWS, LENGTH), np.int32)
        state, metrics = step(state, jax.device_put(tokens_BxL, sharding))
        values.append(float(metrics["loss"]))
    return np.array(values)


@functools.cache
def losses_of_one_device() -> np.ndarray:
    return losses((1, 1, 1))


@pytest.mark.parametrize("shape", MESHES)
def test_losses_do_not_depend_on_the_mesh(shape, capfd):
    first = losses_of_one_device()
    assert len(set(first)) == STEPS
    np.testing.assert_allclose(losses(shape), first, rtol=1e-5)
    # XLA's word for a layout that it cannot keep, and replicates.
    assert "Involuntary full rematerialization" not in capfd.readouterr().err


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 2)])
def test_accumulated_is_unaccumulated(shape):
    np.testing.assert_allclose(losses(shape, accumulation=4), losses_of_one_device(), rtol=1e-6)


@pytest.mark.parametrize("sampler", ["euler", "analytic"])
def test_samples_do_not_depend_on_the_mesh(sampler):
    sampling = Sampling(sampler, steps=8, seed=1, length=64)

    def tokens(num_devices, **overrides):
        run, params = make_run(num_devices, model__length=64, **overrides)
        batches = generate(run, params, sampling, np.arange(256), batch_size=64)
        return np.concatenate([rows for _, rows in batches])

    first = tokens(1)
    for data, fsdp, tensor in MESHES:
        other = tokens(8, mesh__data=data, mesh__fsdp=fsdp, mesh__tensor=tensor)
        # A draw within rounding of its threshold may fall on the other side, and what follows it.
        assert (other != first).sum() < 1e-4 * first.size + 1


def test_a_state_is_made_where_its_shards_live():
    run = build(toy_config(model__width=128, model__num_blocks=4), CODEC, make_mesh((1, 8, 1)))
    shapes = run.state_shapes()
    whole = sum(leaf.size * 4 for leaf in jax.tree.leaves(shapes))
    kept = sum(
        4 * np.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(shapes)
    )
    assert kept < whole / 7  # all but biases and scales is in eight parts
    memory = run.jit_fresh_state().lower().compile().memory_analysis()
    assert memory.output_size_in_bytes < 1.1 * kept
    assert memory.temp_size_in_bytes < kept


def test_heads_and_positions_that_do_not_split_are_refused():
    mesh = make_mesh((1, 2, 4))
    with pytest.raises(UserError, match=r"config\.model\.num_heads 2 must be a multiple of 4"):
        build(toy_config(), CODEC, mesh)
    with pytest.raises(UserError, match="the length 18 must be a multiple of 4"):
        build(toy_config(model__num_heads=4, model__length=18), CODEC, mesh)
    odd = build(toy_config(model__width=20), CODEC, make_mesh((1, 8, 1)))
    with pytest.raises(UserError, match=r"config\.mesh\.fsdp 8 does not divide"):
        odd.state_shapes()
