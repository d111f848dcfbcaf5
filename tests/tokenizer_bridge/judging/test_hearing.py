"""Hearing: pieces as their codec decodes them, each heard once."""

import numpy as np
import pytest

from tokenizer_bridge.decoding import decode_batch
from tokenizer_bridge.judging import hearing
from tokenizer_bridge.judging.pieces import Piece
from tokenizer_bridge.wavtokenizer.registry import load_codec


class Loudness:
    """A listener that counts how often it listens."""

    def __init__(self, name="loudness", floor=0.0):
        self.name, self.facts, self.times = name, {"floor": floor}, 0

    def hear(self, audio_T, sample_rate):
        self.times += 1
        return np.array([len(audio_T) / sample_rate, np.abs(audio_T).max()])


@pytest.fixture(scope="module")
def codec():
    return load_codec("demo-scores")


def pieces(*seeds, length=40):
    tokens = [np.random.default_rng(seed).integers(1024, size=length) for seed in seeds]
    return [
        Piece(f"{s}", t.astype(np.uint16), None, ()) for s, t in zip(seeds, tokens, strict=True)
    ]


def test_what_is_heard_is_the_decoded_audio_in_order(codec, tmp_path):
    wanted = pieces(0, 1, 2)
    heard = hearing.hear(wanted, *codec, [Loudness()], tmp_path)["loudness"]
    for piece, (seconds, peak) in zip(wanted, heard, strict=True):
        assert seconds == pytest.approx(1.0)
        decoded_T = decode_batch(codec[0], piece.tokens_L[None].astype(np.int64))[0]
        # To 16 bits.
        assert peak == pytest.approx(np.abs(decoded_T).clip(max=1).max(), abs=2e-5)


def test_pieces_are_heard_once_and_by_whom_has_not(codec, tmp_path):
    first, second, told = Loudness(), Loudness("other"), []
    before = hearing.hear(pieces(0, 1), *codec, [first], tmp_path)
    both = hearing.hear(pieces(1, 2, 0), *codec, [first, second], tmp_path, lambda: told.append(1))
    assert (first.times, second.times, len(told)) == (3, 3, 3)
    np.testing.assert_array_equal(both["loudness"][2], before["loudness"][0])
    again = hearing.hear(pieces(1, 2, 0), *codec, [first, second], tmp_path)
    assert (first.times, second.times) == (3, 3)
    np.testing.assert_array_equal(again["other"], both["other"])


def test_another_setting_of_a_listener_hears_anew(codec, tmp_path):
    hearing.hear(pieces(0), *codec, [Loudness()], tmp_path)
    other = Loudness(floor=1.0)
    hearing.hear(pieces(0), *codec, [other], tmp_path)
    assert other.times == 1


def test_musicnn_hears_a_vector_each_window_of_three_seconds():
    audio_T = 0.1 * np.random.default_rng(0).standard_normal(24_000 * 6).astype(np.float32)
    assert hearing.Musicnn().hear(audio_T, 24_000).shape == (2, 200)
