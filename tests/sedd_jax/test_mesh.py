import sys

import jax
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from sedd_jax import mesh as mesh_lib
from sedd_jax.errors import UserError
from sedd_jax.run import build
from tests.sedd_jax.toy import CODEC, FAST_COMPILE, run, toy_config


def test_minus_one_takes_the_devices_that_are_left():
    mesh = mesh_lib.make_mesh({"data": -1, "fsdp": 1, "tensor": 1})
    assert dict(mesh.shape) == {"data": len(jax.devices()), "fsdp": 1, "tensor": 1}
    assert mesh.axis_types == (AxisType.Auto,) * 3
    assert mesh_lib.batch_shards(mesh) == len(jax.devices())


def test_sizes_that_do_not_fit_the_devices_are_refused_but_a_reader_makes_do():
    sizes = {"data": -1, "fsdp": 64, "tensor": 3}
    with pytest.raises(UserError, match=r"data -1, fsdp 64, tensor 3\) does not fit the 1 devices"):
        mesh_lib.make_mesh(sizes, jax.devices()[:1])
    assert mesh_lib.mesh_or_data_parallel(sizes).shape["data"] == len(jax.devices())


def test_a_batch_that_does_not_divide_is_refused():
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 1, "tensor": 1}, jax.devices()[:1])
    mesh_lib.check_batch(mesh, 12, accumulation=4)
    with pytest.raises(UserError, match="batch_size 12 must be a multiple of 1 devices"):
        mesh_lib.check_batch(mesh, 12, accumulation=5)


def test_rules_reach_parameters_moments_and_ema_alike():
    for prefix in ("params", "ema_params", "opt_state/0/mu"):
        spec = mesh_lib.partition_spec(f"{prefix}/blocks/mlp_in/kernel", 3)
        assert spec == P(None, "fsdp", "tensor")
    assert mesh_lib.partition_spec("params/blocks/norm1/scale", 2) == P()
    assert mesh_lib.partition_spec("opt_state/0/count", 0) == P()


def test_every_rule_is_of_use_and_no_longer_than_its_array():
    shapes = build(toy_config(), CODEC).state_shapes()
    arrays = {
        mesh_lib.path_name(path): len(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes)
    }
    used = {name: mesh_lib.partition_spec(name, ndim) for name, ndim in arrays.items()}
    assert all(len(spec) <= arrays[name] for name, spec in used.items())
    of_arrays = {spec for pattern, spec in mesh_lib.RULES if "activations" not in pattern}
    assert of_arrays == set(used.values())


MANY_DEVICES = """
import jax, numpy as np
from sedd_jax import mesh as mesh_lib
from sedd_jax.errors import UserError
from sedd_jax.run import build
from sedd_jax.step import compile_train_step
from tests.sedd_jax.toy import CODEC, toy_config

tokens_BxL = np.arange(8 * 16).reshape(8, 16).astype(np.int32) % 32
fresh = None
losses = {}
for shape, accumulation in [((1, 1, 1), 1), ((8, 1, 1), 1), ((2, 4, 1), 1), ((2, 2, 2), 2)]:
    sizes = dict(zip(("data", "fsdp", "tensor"), shape))
    config = toy_config(training__accumulation=accumulation)
    config.mesh.update(sizes)
    mesh = mesh_lib.make_mesh(sizes, jax.devices()[: int(np.prod(shape))])
    run = build(config, CODEC, mesh)
    fresh = fresh or jax.device_get(run.fresh_state())
    state = jax.device_put(fresh, mesh_lib.tree_shardings(mesh, fresh))
    spec = state.params["blocks"]["mlp_in"]["kernel"].sharding.spec
    assert spec == mesh_lib.P(None, "fsdp", "tensor"), spec
    step = compile_train_step(run)
    sharding = mesh_lib.batch_sharding(mesh)
    rows = mesh_lib.host_rows(sharding, 8)
    losses[shape] = []
    for _ in range(4):
        batch = mesh_lib.place_rows(sharding, (8, 16), rows, tokens_BxL[rows])
        np.testing.assert_array_equal(batch, tokens_BxL)
        state, metrics = step(state, batch)
        losses[shape].append(float(metrics["loss"]))
first = losses[1, 1, 1]
assert len(set(first)) == 4
for key, values in losses.items():
    np.testing.assert_allclose(values, first, rtol=1e-5, err_msg=str(key))

try:
    mesh = mesh_lib.make_mesh({"data": 1, "fsdp": 8, "tensor": 1})
    odd = toy_config(model__width=20, model__num_heads=2)
    build(odd, CODEC, mesh).state_shapes()
except UserError as error:
    assert "config.mesh.fsdp 8 does not divide" in str(error)
else:
    raise AssertionError("a width of 20 was split in 8")
"""


def test_losses_do_not_depend_on_the_mesh_or_on_accumulation():
    command = [sys.executable, "-c", MANY_DEVICES]
    result = run(command, JAX_NUM_CPU_DEVICES="8", XLA_FLAGS=FAST_COMPILE)
    assert result.returncode == 0, result.stderr
    assert "Involuntary full rematerialization" not in result.stderr
