"""Training of a model of the next token: what it learns, and what that does not depend on."""

import chex
import jax
import numpy as np
import pytest

from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.jobs.train import train
from sedd_jax.likelihood.exact import token_nats
from sedd_jax.model import build, checkpoint_dir, load_run
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.training.step import compile_train_step
from tests.sedd_jax.toy import CODEC, metrics, toy_config, write_dataset

ROWS, LENGTH = 32, 16
SIZE = {"model__type": "autoregressive", "training__batch_size": ROWS, "model__dropout": 0.0}


def make_run(mesh_shape=(1, 1, 1), num_codes=4, **overrides):
    sizes = dict(zip(mesh_lib.AXES, mesh_shape, strict=True))
    mesh = mesh_lib.make_mesh(sizes, jax.devices()[: int(np.prod(mesh_shape))])
    return build(toy_config(**SIZE | overrides), CODEC | {"codebook_size": num_codes}, mesh)


def markov_chain(rng, num_rows: int) -> np.ndarray:
    """Rows (N, LENGTH) of a chain over 4 codes: one up with 0.8, else any of the other three."""
    steps = rng.choice(4, p=[0.8, 0.1, 0.06, 0.04], size=(num_rows, LENGTH))
    steps[:, 0] = rng.integers(0, 4, num_rows)
    return ((np.cumsum(steps + 1, axis=1) - 1) % 4).astype(np.int32)


def entropy_bits(*probabilities: float) -> float:
    return -sum(p * np.log2(p) for p in probabilities)


def test_the_cost_of_a_markov_chain_nears_its_entropy():
    run = make_run()
    state, step = run.fresh_state(), compile_train_step(run)
    sharding, rng = mesh_lib.batch_sharding(run.mesh), np.random.default_rng(0)
    for _ in range(200):
        state, _ = step(state, jax.device_put(markov_chain(rng, ROWS), sharding))
    held_out_NxL = markov_chain(rng, 2_000)
    bits_NxL = token_nats(run, state.params, held_out_NxL, batch_size=500) / np.log(2)
    assert bits_NxL[:, 0].mean() == pytest.approx(2, abs=0.05)
    # What these very rows cost under the law that drew them, which no model can beat by much.
    moved_NxL = (np.diff(held_out_NxL, axis=1) - 1) % 4
    truth = -np.log2(np.array([0.8, 0.1, 0.06, 0.04]))[moved_NxL].mean()
    assert truth == pytest.approx(entropy_bits(0.8, 0.1, 0.06, 0.04), abs=0.03)
    assert truth - 0.005 < bits_NxL[:, 1:].mean() < truth + 0.05


def losses(run, accumulation_rows=ROWS) -> np.ndarray:
    step, sharding = compile_train_step(run), mesh_lib.batch_sharding(run.mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, run.state_shapes())
    state = jax.device_put(jax.device_get(make_run().fresh_state()), shardings)
    rng, values = np.random.default_rng(0), []
    for _ in range(5):
        state, figures = step(state, jax.device_put(markov_chain(rng, ROWS), sharding))
        values.append(float(figures["loss"]))
    return np.array(values)


def test_eight_devices_and_microbatches_change_nothing():
    dropout = {"model__dropout": 0.2}
    single = losses(make_run(**dropout))
    assert len(set(single)) == 5
    sharded = make_run((2, 2, 2), training__accumulation=2, **dropout)
    np.testing.assert_allclose(losses(sharded), single, rtol=1e-5)


def test_a_run_that_is_resumed_is_bit_equal(tmp_path):
    """Through the job of the command `train`, with tags and a validation."""
    lengths = {"train": [40, 100, 33], "validation": [50]}
    tags = {"train": [("g---a",), (), ("g---b",)]}
    tokens = write_dataset(tmp_path / "tokens", lengths, tags=tags)
    overrides = {
        "model__type": "autoregressive",
        "model__dropout": 0.1,
        "conditioning__categories": ("g",),
        "conditioning__min_tracks": 1,
        "evaluation__every": 4,
        "checkpoint__every": 2,
        "training__log_every": 2,
    }
    states = []
    for name, stops in (("whole", [4]), ("resumed", [2, 4])):
        for num_steps in stops:
            config = toy_config(data__path=str(tokens), training__num_steps=num_steps, **overrides)
            assert train(config, tmp_path / name) == 0
        run, _, step = load_run(tmp_path / name)
        assert step == 4 and run.is_autoregressive
        with Checkpoints(checkpoint_dir(tmp_path / name), read_only=True) as checkpoints:
            meta = checkpoints.read_meta(4)
            states.append(jax.device_get(checkpoints.restore(meta, run.state_shapes())))
    chex.assert_trees_all_equal(*states, strict=True)
    measured = [line for line in metrics(tmp_path / "whole") if "validation_bits_per_token" in line]
    assert [line["step"] for line in measured] == [4]
    assert not any(name.startswith("validation_bits_by_t") for name in measured[0])
