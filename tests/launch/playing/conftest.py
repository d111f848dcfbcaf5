"""A studio of toys: a model that was never trained, which knows tags, and a codec of toy size."""

import pytest

from launch.playing.studio import Studio, load
from sedd_jax.conditions import Vocabulary
from tests.sedd_jax import toy_run
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge.wavtokenizer.registry import load_codec

TAGS = {"genre---jig": 3, "genre---reel": 2, "instrument---flute": 4}


@pytest.fixture(scope="session")
def toy_workdir(codec_dir, tmp_path_factory):
    """A run with the toy codec and TAGS; its context of 1,024 tokens lasts 0.34 s."""
    folder = tmp_path_factory.mktemp("playing")
    _, info = load_codec("toy", codec_dir=codec_dir)
    toy_run.write_run(
        folder / "run", write_dataset(folder / "tokens", codec=vars(info)), codec=vars(info),
        vocabulary=Vocabulary(TAGS, max_tags=2), model__length=1024,
    )  # fmt: skip
    return folder / "run"


@pytest.fixture(scope="session")
def loaded(toy_workdir, codec_dir, tmp_path_factory):
    """The model, the codec and their source, loaded once: what is compiled hangs on the model."""
    studio = load(str(toy_workdir), tmp_path_factory.mktemp("loaded"), codec_dir=str(codec_dir))
    return studio.model, studio.codec, studio.source


@pytest.fixture
def studio(loaded, tmp_path):
    """The studio of that run, with a folder of its own."""
    (tmp_path / "sounds").mkdir()
    return Studio(*loaded, tmp_path / "sounds")
