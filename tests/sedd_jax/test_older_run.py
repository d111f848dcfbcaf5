"""Files of an earlier version are read as it read them (tests/reference/older_run/README.md)."""

from pathlib import Path

import numpy as np

from sedd_jax import config as config_lib
from sedd_jax.api import Model
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.data import fingerprint
from sedd_jax.model import build, checkpoint_dir
from tokenizer_bridge.token_dataset.records import TokenDataset

OLDER = Path(__file__).parents[1] / "reference" / "older_run"


def test_its_token_dataset_is_read():
    dataset = TokenDataset(OLDER / "tokens")
    assert [len(record.tokens) for record in dataset.records("train")] == [40, 33, 20]
    assert max(record.tokens.max() for record in dataset.records("train")) == 7


def test_its_model_scores_as_it_did():
    model = Model.load(OLDER / "run")
    expected_1xLxV = np.load(OLDER / "log_score.npy")
    found_1xLxV = model.log_score(np.arange(16) % 9, 0.5)
    np.testing.assert_allclose(found_1xLxV, expected_1xLxV, rtol=1e-5, atol=1e-5)


def test_its_run_can_be_resumed():
    config = config_lib.load(OLDER / "run" / "config.json")
    with Checkpoints(checkpoint_dir(OLDER / "run"), read_only=True) as checkpoints:
        meta = checkpoints.newest(checkpoints.read_meta)
        config_lib.check_resumable(meta.config, config, OLDER / "run")
        assert meta.dataset == fingerprint(TokenDataset(OLDER / "tokens"), "train")
        state = checkpoints.restore(meta, build(config, meta.codec).state_shapes())
    assert int(state.step) == 3
