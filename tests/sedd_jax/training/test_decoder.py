"""Token datasets to sound, in the background, by the program that does it for users."""

import time
import wave

import numpy as np

from sedd_jax.training.decoder import Decoder
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge.token_dataset import codecs


def test_tokens_become_sound(tmp_path):
    codec = codecs.describe("demo-scores")
    tokens = write_dataset(tmp_path / "tokens", {"generated": [20, 20]}, codec)
    with Decoder() as decoder:
        decoder.add(tokens, tmp_path / "audio")
        assert decoder.poll() is None and decoder.num_left == 1
        while (news := decoder.poll()) is None:
            time.sleep(0.05)
        assert news == (tokens, None) and decoder.num_left == 0
    for i in range(2):
        with wave.open(str(tmp_path / f"audio/generated-{i}.wav")) as file:
            assert (file.getframerate(), file.getnframes()) == (24_000, 20 * 600)
            sound = np.frombuffer(file.readframes(20 * 600), "<i2") / 2**15
        assert np.sqrt(np.square(sound).mean()) > 1e-3  # not silent
