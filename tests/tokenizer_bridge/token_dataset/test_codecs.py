"""A codec by its name agrees with what its files say."""

import pytest

from tokenizer_bridge.token_dataset import codecs
from tokenizer_bridge.token_dataset.description import CODEC_KEYS, check_codec
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer import registry
from tokenizer_bridge.wavtokenizer.config import WavTokenizerConfig


def test_the_names_are_the_registrys():
    assert codecs.NAMES == registry.KNOWN_CODECS


@pytest.mark.parametrize("name", codecs.NAMES)
def test_a_description_is_that_of_the_codecs_yaml(name):
    described = codecs.describe(name)
    check_codec(described)
    assert tuple(described) == CODEC_KEYS and described["name"] == name
    if name in codecs.EMBEDDED:
        path, weights, _ = registry.locate(name, None)
        assert described["weights_sha256"] == registry.file_sha256(weights)
    else:
        path = registry.ASSETS / "configs" / registry.PUBLISHED[name].yaml_file
        assert described["weights_sha256"] == ""
    config = WavTokenizerConfig.from_yaml(path)
    for key in CODEC_KEYS[2:]:
        assert described[key] == getattr(config, key)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="the nearest: wavtokenizer-medium-music-75, wavtok"):
        codecs.describe("WavTokenizer-medium-music")
    with pytest.raises(UserError, match="vggish: no such codec; there are demo, demo-scores"):
        codecs.describe("vggish")
