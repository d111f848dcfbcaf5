"""The model and the codec that come with the project belong together and are what they say."""

import numpy as np

from sedd_jax import Model
from tests.programs import ROOT
from tokenizer_bridge import Codec

LIMIT = 26e6  # bytes of the model: everybody who clones the project carries it


def test_the_demo_model_speaks_the_demo_codec():
    model = Model.load("demo")
    assert {"instrument---flute", "genre---jig", "genre---chorale"} <= set(model.tags)
    tokens_NxL = model.sample(2, tags=["instrument---flute"], length=32, steps=2)
    assert tokens_NxL.shape == (2, 32) and tokens_NxL.max() < model.num_codes
    codec = Codec.load(model.codec)  # refuses other weights than those that the model learned from
    audio_NxT = codec.decode(tokens_NxL)
    assert audio_NxT.shape == (2, 32 * codec.hop_length) and np.abs(audio_NxT).max() > 1e-3


def test_what_is_shipped_names_no_place_and_stays_small():
    folder = ROOT / "sedd_jax" / "assets" / "demo"
    assert sum(path.stat().st_size for path in folder.iterdir()) < LIMIT
    assert '"path": ""' in (folder / "config.json").read_text()
