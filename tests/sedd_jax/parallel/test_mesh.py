import os

import jax
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from sedd_jax.errors import UserError
from sedd_jax.model import build
from sedd_jax.parallel import mesh as mesh_lib
from tests.sedd_jax.toy import CODEC, toy_config


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


def test_rows_are_placed_where_they_belong():
    mesh = mesh_lib.make_mesh({"data": 2, "fsdp": 2, "tensor": 2})
    sharding = mesh_lib.batch_sharding(mesh)
    rows_R = mesh_lib.host_rows(sharding, 8)
    tokens_BxL = np.arange(8 * 3).reshape(8, 3)
    placed = mesh_lib.place_rows(sharding, (8, 3), rows_R, tokens_BxL[rows_R])
    np.testing.assert_array_equal(placed, tokens_BxL)
    assert {shard.data.shape for shard in placed.addressable_shards} == {(2, 3)}


def test_slices_lie_along_data_unless_told_otherwise():
    pytest.importorskip("libtpu")
    devices = slices_of_tpus()
    sizes = {"data": -1, "fsdp": 2, "tensor": 1}
    mesh = mesh_lib.make_mesh(sizes, devices)
    assert dict(mesh.shape) == {"data": 4, "fsdp": 2, "tensor": 1}
    assert [{d.slice_index for d in rows.flat} for rows in mesh.devices] == [{0}, {0}, {1}, {1}]

    along_fsdp = mesh_lib.make_mesh(sizes | {"dcn": {"data": 1, "fsdp": -1, "tensor": 1}}, devices)
    assert dict(along_fsdp.shape) == {"data": 2, "fsdp": 4, "tensor": 1}
    assert {d.slice_index for d in along_fsdp.devices[:, :2].flat} == {0}

    with pytest.raises(UserError, match=r"mesh\.dcn \(data 4, .*does not fit the 2 slices"):
        mesh_lib.make_mesh(sizes | {"dcn": {"data": 4, "fsdp": 1, "tensor": 1}}, devices)


def slices_of_tpus():
    """Two slices of 2×2, in a description that needs no TPU."""
    from jax.experimental import topologies

    os.environ.update(TPU_SKIP_MDS_QUERY="1", ALLOW_MULTIPLE_LIBTPU_LOAD="1")
    return topologies.get_topology_desc(
        platform="tpu", topology_name="v5e:2x2", num_slices=2
    ).devices
