"""Vectors from a data set through training to samples that follow them."""

import dataclasses
import itertools

import jax
import numpy as np
import pytest

from sedd_jax.api import Model
from sedd_jax.errors import UserError
from sedd_jax.model import build
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.training import step as step_lib
from sedd_jax.training.setup import prepare
from tests.sedd_jax.toy import CODEC, toy_config, write_dataset
from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter

KIND, CODES = "clap", 8  # of a cluster
LOW, HIGH = np.float32([3, 0, 0, 1]), np.float32([0, 3, 0, 1])  # where their vectors lie
NUM_STEPS = 150


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of tracks with the codes 0 to 7 or 8 to 15, as their vectors say."""
    folder, rng = tmp_path_factory.mktemp("clusters"), np.random.default_rng(0)
    with TokenDatasetWriter(folder / "tokens", CODEC, vectors={KIND: 4}) as writer:
        for i in range(40):
            tokens = (CODES * (i % 2) + rng.integers(0, CODES, 40)).astype(np.uint16)
            vector_W = (HIGH if i % 2 else LOW) + 0.3 * rng.standard_normal(4, np.float32)
            writer.write("train", Record(str(i), tokens, 1.0, vectors={KIND: vector_W}))
    config = toy_config(
        data__path=str(folder / "tokens"), conditioning__vectors=(KIND,), model__length=8,
        model__width=32, model__dropout=0.0, training__batch_size=32, conditioning__drop_all=0.4,
    )  # fmt: skip
    job = prepare(config, folder / "run")
    mesh = mesh_lib.make_mesh(config.mesh, jax.devices()[:1])
    run = build(job.run.config, CODEC, mesh, job.run.vocabulary)
    step, state = step_lib.compile_train_step(run), run.fresh_state()
    for batch in itertools.islice(dataclasses.replace(job, run=run).batches(0), NUM_STEPS):
        state, _ = step(state, *batch)
    return Model(run, state.ema_params, NUM_STEPS)


def test_samples_follow_the_vector_that_they_are_told(model):
    assert model.vectors == {KIND: 4} and model.tags == {}
    norm = model.definition.vocabulary.vectors[KIND].norm
    assert norm == pytest.approx((10 + 4 * 0.3**2) ** 0.5, rel=0.05)
    told_NxW = np.stack([LOW, HIGH] * 8)
    is_high_NxL = model.sample(16, vectors={KIND: told_NxW}, steps=8) >= CODES
    assert is_high_NxL[0::2].mean() < 0.1 and is_high_NxL[1::2].mean() > 0.9
    low_NxL = model.sample(16, vectors={KIND: LOW}, steps=8)
    assert (low_NxL >= CODES).mean() < 0.1
    assert 0.2 < (model.sample(64, steps=8) >= CODES).mean() < 0.8  # told nothing


def test_vectors_that_the_model_does_not_know_are_refused(model):
    def bits(num, vectors):
        return model.bits_per_token(np.zeros((num, 8), int), vectors=vectors)

    for call in (model.sample, bits):
        with pytest.raises(UserError, match="knows no vectors 'clip', only clap"):
            call(2, vectors={"clip": LOW})
        with pytest.raises(UserError, match=r"\(4,\) or \(2, 4\) are needed"):
            call(2, vectors={KIND: LOW[:3]})


def test_a_config_asks_for_vectors_that_the_data_has(tmp_path):
    path = write_dataset(tmp_path / "tokens")
    config = toy_config(data__path=str(path), conditioning__vectors=(KIND,))
    with pytest.raises(UserError, match="'clap', as config.conditioning.vectors wants; none has"):
        prepare(config, tmp_path / "run")
