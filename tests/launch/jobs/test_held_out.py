"""Clips of held-out music: the middle of each track, and what is wrong with one names its file."""

import numpy as np
import pytest
import soundfile

from launch.jobs.held_out import find_tracks, read_middles
from tests.tokenizer_bridge.toy_songs import music
from tokenizer_bridge.token_dataset.errors import UserError

RATE = 24_000


def write(folder, **seconds):
    for name, length in seconds.items():
        soundfile.write(folder / f"{name}.wav", music(length, 1), RATE)


def test_short_tracks_are_left_out_and_the_others_give_their_middle(tmp_path):
    write(tmp_path, a=3.0, b=5.0, c=1.0)
    held_out = read_middles(str(tmp_path), find_tracks(str(tmp_path), None, 0), 2.0, RATE)
    assert held_out.sound_NxT.shape == (2, 2 * RATE) and len(held_out.artists_N) == 2
    np.testing.assert_allclose(held_out.sound_NxT[0], music(3.0, 1)[12_000:-12_000], atol=1e-4)
    assert len(held_out.left_out) == 1 and "c.wav: " in held_out.left_out[0]


def test_a_clip_that_cannot_be_read_is_named(tmp_path):
    write(tmp_path, a=3.0)
    soundfile.write(tmp_path / "b.wav", np.zeros(3 * RATE), RATE)  # silence is no music
    with pytest.raises(UserError, match=r"b\.wav: "):
        read_middles(str(tmp_path), find_tracks(str(tmp_path), None, 0), 2.0, RATE)
