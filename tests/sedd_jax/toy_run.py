"""A run that was never trained, made in no time: fresh parameters take a compilation to draw."""

from pathlib import Path

import jax
import numpy as np

from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.meta import Meta
from sedd_jax.conditions import UNCONDITIONAL, Vocabulary
from sedd_jax.model import ModelDef, build, checkpoint_dir
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.state import Params, init_state
from tests.sedd_jax.toy import CODEC, toy_config


def make_run(
    num_devices: int = 1, vocabulary: Vocabulary = UNCONDITIONAL, codec=CODEC, **overrides
) -> tuple[ModelDef, Params]:
    """A run with parameters at random everywhere: fresh ones, zero in the head, ignore tokens."""
    config = toy_config(**overrides)
    mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[:num_devices])
    run = build(config, codec, mesh, vocabulary)
    return run, random_params(run)


def random_params(run: ModelDef) -> Params:
    rng = np.random.default_rng(0)

    def draw(shape):
        return jax.device_put(0.3 * rng.standard_normal(shape.shape, np.float32), shape.sharding)

    return jax.tree.map(draw, run.state_shapes().ema_params)


def write_run(workdir: Path, dataset: Path, *, factor: float = 1.0, **overrides) -> None:
    """A run whose only checkpoint, of step 0, holds parameters at random, times `factor`."""
    toy_run, params = make_run(data__path=str(dataset), sampling__batch_size=4, **overrides)
    params = jax.tree.map(lambda x: factor * x, params)
    config = toy_run.config
    workdir.mkdir()
    with Checkpoints(checkpoint_dir(workdir)) as checkpoints:
        state = init_state(params, config.optim)
        vocabulary = toy_run.vocabulary.to_json()
        meta = Meta(0, config.to_dict(), toy_run.codec, "toy", vocabulary=vocabulary)
        checkpoints.save(state, meta)
        checkpoints.wait()
