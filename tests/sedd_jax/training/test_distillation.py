"""A run that distils: its teacher stays, on any mesh and in checkpoints, and what is refused."""

import functools
import json
import shutil

import jax
import numpy as np
import pytest

from sedd_jax import config as config_lib
from sedd_jax import train as train_lib
from sedd_jax.api import Model
from sedd_jax.errors import UserError
from sedd_jax.model import build, load_run
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.training import origin as origin_lib
from sedd_jax.training.setup import prepare
from sedd_jax.training.step import compile_train_step
from sedd_jax.weights import exporting
from tests.sedd_jax.toy import CODEC, NUM_CODES, toy_config, write_dataset
from tests.sedd_jax.toy_run import random_params, write_run

ROUND = {"distill__steps": 4, "distill__teacher_steps": 2}


@functools.cache
def params():
    mesh = mesh_lib.make_mesh(mesh_lib.SLICES_ALONG_DATA, jax.devices()[:1])
    return jax.device_get(random_params(build(toy_config(), CODEC, mesh)))


def course(shape, **overrides):
    """(losses of 4 steps from `params`, the state after them) on a mesh of this shape."""
    sizes = dict(zip(mesh_lib.AXES, shape, strict=True))
    mesh = mesh_lib.make_mesh(sizes, jax.devices()[: int(np.prod(shape))])
    size = {"training__batch_size": 16, "optim__learning_rate": 1e-3}
    run = build(toy_config(**size, **ROUND, **overrides), CODEC, mesh)
    shapes = run.state_shapes()
    state = run.state_from(
        jax.tree.map(lambda x, s: jax.device_put(x, s.sharding), params(), shapes.params)
    )
    step, losses, rng = compile_train_step(run), [], np.random.default_rng(0)
    for _ in range(4):
        tokens_BxL = rng.integers(0, NUM_CODES, (16, 16), np.int32)
        batch = jax.device_put(tokens_BxL, mesh_lib.batch_sharding(mesh))
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    jax.tree.map(lambda x, s: None if x.sharding == s.sharding else pytest.fail(), state, shapes)
    return losses, jax.device_get(state)


def test_the_student_changes_and_its_teacher_does_not_on_any_mesh():
    losses, state = course((1, 1, 1))
    for path, x in jax.tree_util.tree_leaves_with_path(state.teacher):
        np.testing.assert_array_equal(x, functools.reduce(lambda t, k: t[k.key], path, params()))
    assert not np.allclose(state.params["output_layer"]["linear"]["kernel"],
                           state.teacher["output_layer"]["linear"]["kernel"])  # fmt: skip
    assert losses[0] > 0
    others, _ = course((2, 2, 2), training__accumulation=2)
    # Adam's first steps are as long for a gradient near zero, whose sign is rounding, as for any.
    np.testing.assert_allclose(others, losses, rtol=1e-3)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A folder with tokens and a run `teacher`."""
    folder = tmp_path_factory.mktemp("distillation")
    write_run(folder / "teacher", write_dataset(folder / "tokens"))
    run, _, _ = load_run(folder / "teacher")
    config_lib.save(run.config, folder / "teacher" / "config.json")
    return folder


def test_a_student_goes_on_without_its_teacher_and_is_a_model_like_any_other(
    here, tmp_path, capsys
):
    shutil.copytree(here / "teacher", tmp_path / "teacher")
    _, teacher, _ = load_run(here / "teacher")
    keys = {key.replace("__", "."): value for key, value in ROUND.items()}
    keys |= {"training.num_steps": 2, "checkpoint.every": 2, "evaluation.every": 1}

    def train(workdir, **changes):
        flags = [f"--config.{key}={value}" for key, value in (keys | changes).items()]
        where = [f"--tokens={here / 'tokens'}", f"--workdir={workdir}"]
        return train_lib.main([f"--init_from={tmp_path / 'teacher'}", *where, *flags])

    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert train(whole, **{"training.num_steps": 4}) == 0
    assert "in 4 steps of spread what its teacher does in 8; without" in capsys.readouterr().out
    assert train(stopped) == 0
    shutil.rmtree(tmp_path / "teacher")
    assert train(stopped, **{"training.num_steps": 4}) == 0
    (_, expected, _), (_, found, step) = load_run(whole), load_run(stopped)
    jax.tree.map(np.testing.assert_array_equal, expected, found)
    assert step == 4 and any(
        (a != b).any() for a, b in zip(*map(jax.tree.leaves, (found, teacher)), strict=True)
    )

    exporting.export(stopped, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["distill"]["steps"] == 4
    tokens = Model.load(stopped).sample(2, sampler="spread", steps=4)
    np.testing.assert_array_equal(
        Model.load(tmp_path / "out").sample(2, sampler="spread", steps=4), tokens
    )
    assert origin_lib.starting_config(str(stopped)).distill.steps == 0  # plain training goes on
    with pytest.raises(UserError, match=r"distill\.steps=4, not 0: set it back"):
        train(stopped, **{"distill.steps": 0, "training.num_steps": 6})


def test_a_student_without_a_teacher_is_refused_in_one_line(here, tmp_path):
    config = toy_config(data__path=str(here / "tokens"), **ROUND)
    with pytest.raises(UserError, match="config.distill.steps is 4: the model .* from none"):
        prepare(config, tmp_path / "run")
