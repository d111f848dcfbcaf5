"""The shipped sweeps compare what they say, beyond that their configs are valid."""

import jax
import numpy as np
import pytest

from configs.sweeps import graph_noise
from sedd_jax import config as config_lib
from sedd_jax.model import build
from sedd_jax.parallel.mesh import make_mesh
from sedd_jax.training import step

CODEC = {"name": "none", "codebook_size": 4096}


@pytest.mark.parametrize("overrides", list(graph_noise.sweep("quickstart")))
def test_a_fresh_network_starts_near_uniform_codes_under_every_process(overrides):
    """log 4,096 is 8.3 nats a token. Under the uniform graph, scores of 1 are right for what has
    moved: 7.96 in the mean for log-linear noise, 7.95 for geometric."""
    config = graph_noise.get_config("quickstart")
    config.model.update(num_blocks=1, width=8, num_heads=2, cond_dim=8, length=64, dropout=0.0)
    config.training.batch_size = 64
    config.update_from_flattened_dict(overrides)
    config_lib.check(config)
    model = build(config, CODEC, make_mesh(config.mesh, jax.devices()[:1]))
    params = model.fresh_state().params
    loss = jax.jit(lambda x0_BxL, key: step.mean_loss(model, params, step.draw(model, key, x0_BxL)))
    x0_BxL = np.random.default_rng(0).integers(0, 4096, (64, 64)).astype(np.int32)
    nats = [loss(x0_BxL, jax.random.key(seed)) / 64 for seed in range(4)]
    assert np.mean(nats) == pytest.approx(8.1, abs=0.6)
