"""Channels mixed down so that they do not cancel, and what is below hearing removed."""

import numpy as np
import pytest
import soundfile

from tokenizer_bridge.audio.low_cut import low_cut
from tokenizer_bridge.audio.mixing import ChannelPowers, mix_down
from tokenizer_bridge.audio.read import (
    AudioError,
    Preparation,
    PreparedFile,
    read_excerpt,
    read_mono,
)
from tokenizer_bridge.token_dataset.errors import UserError

RATE = 24_000


def tone(hz=440.0, seconds=1.0, amplitude=0.3):
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)).astype(
        np.float32
    )


def noise(seed, seconds=1.0):
    return 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE)).astype(
        np.float32
    )


def write(path, *channels):
    soundfile.write(path, np.stack(channels, 1), RATE, subtype="FLOAT")
    return path


def prepared(path, **options):
    return PreparedFile(path, RATE, Preparation(**{"low_cut_hz": 0} | options)).read()


@pytest.mark.parametrize(("left", "right", "cancel"), [
    (1.0, 1.0, False), (1.0, 0.0, False), (1.0, 0.3, False), (1.0, -0.2, False),
    (1.0, -1.0, True), (-0.98, 1.0, True), (1.0, -0.6, True), (0.0, 0.0, False),
])  # fmt: skip
def test_channels_of_opposite_phase_cancel(left, right, cancel):
    powers = ChannelPowers(2)
    for block_T in np.split(tone(), 4):
        powers.push(np.stack([left * block_T + 0.3, right * block_T + 0.3], 1))  # offsets aside
    assert powers.cancel == cancel
    assert powers.loudest == (0 if abs(left) >= abs(right) else 1)


def test_independent_channels_do_not_cancel_however_many():
    for num_channels in (2, 6):
        powers = ChannelPowers(num_channels)
        powers.push(np.stack([noise(i) for i in range(num_channels)], 1))
        assert not powers.cancel


def test_the_loudest_is_taken_where_channels_cancel(tmp_path):
    path = write(tmp_path / "x.wav", -0.98 * tone(), tone())
    np.testing.assert_array_equal(read_mono(path, RATE), tone())
    np.testing.assert_array_equal(mix_down(np.stack([-0.98 * tone(), tone()], 1)), tone())
    np.testing.assert_array_equal(read_excerpt(path, 0.0, 1.0)[0], tone())
    path = write(tmp_path / "y.wav", tone(), tone(550))
    np.testing.assert_allclose(read_mono(path, RATE), (tone() + tone(550)) / 2, atol=1e-7)


def test_channels_by_name(tmp_path):
    left, right = tone(440), tone(550, amplitude=0.4)
    path = write(tmp_path / "x.wav", left, right)
    np.testing.assert_array_equal(prepared(path, channels="left"), left)
    np.testing.assert_array_equal(prepared(path, channels="right"), right)
    np.testing.assert_array_equal(prepared(path, channels="loudest"), right)
    mono = write(tmp_path / "m.wav", left)
    for name in ("left", "right", "loudest", "mean"):
        np.testing.assert_array_equal(prepared(mono, channels=name), left)


def test_silence_is_what_is_left_when_channels_are_mixed(tmp_path):
    path = write(tmp_path / "x.wav", tone(), 0 * tone())
    with pytest.raises(AudioError, match="silent"):
        prepared(path, channels="right")
    path = write(tmp_path / "y.wav", 0 * tone() + 0.5)  # a constant alone
    with pytest.raises(AudioError, match="silent"):
        prepared(path, low_cut_hz=20)
    assert len(prepared(path)) == RATE


@pytest.mark.parametrize(
    ("hz", "lost_db"), [(5, 18.0), (10, 7.5), (20, 0.8), (40, 0.0), (1000, 0.0)]
)
def test_what_a_low_cut_takes(hz, lost_db):
    signal_T = tone(hz, seconds=6.0)
    kept_T = np.concatenate(list(low_cut([signal_T], RATE, 20.0)))
    assert kept_T.shape == signal_T.shape
    middle = slice(RATE, 5 * RATE)
    gain = np.dot(kept_T[middle], signal_T[middle]) / np.dot(signal_T[middle], signal_T[middle])
    assert -20 * np.log10(gain) == pytest.approx(lost_db, abs=0.15)
    np.testing.assert_allclose(kept_T[middle], gain * signal_T[middle], atol=2e-3)  # in phase


@pytest.mark.parametrize("seconds", [0.1, 1.0, 10.0])
def test_a_low_cut_does_not_depend_on_blocks_or_on_a_constant(seconds):
    signal_T = noise(0, seconds)
    whole_T = np.concatenate(list(low_cut([signal_T], RATE, 20.0)))
    cuts = np.sort(np.random.default_rng(1).integers(0, len(signal_T), 6))
    parts_T = np.concatenate(list(low_cut(np.split(signal_T, cuts), RATE, 20.0)))
    np.testing.assert_array_equal(parts_T, whole_T)
    raised_T = np.concatenate(list(low_cut([signal_T + np.float32(0.1)], RATE, 20.0)))
    np.testing.assert_allclose(raised_T, whole_T, atol=1e-7)
    np.testing.assert_allclose(
        list(low_cut([np.full(9_000, 0.1, np.float32)], RATE, 20.0))[0], 0, atol=1e-7
    )


def test_preparations_that_make_no_sense():
    for options in ({"channels": "middle"}, {"low_cut_hz": 0.5}, {"low_cut_hz": 5_000}):
        with pytest.raises(UserError):
            Preparation(**options)
