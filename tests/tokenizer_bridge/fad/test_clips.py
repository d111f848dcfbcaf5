"""Clips: where they lie, and that they are what decoding the whole file gives there."""

import numpy as np
import pytest
import soundfile

from tokenizer_bridge.audio.read import AudioError, length_s
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.fad.clips import Clip, plan_clips, prepare, read_clip, spread
from tokenizer_bridge.sources import Track


def music(rate: int, seconds: float, channels: int = 2) -> np.ndarray:
    """Sweeps with noise: a shift by a single sample would be seen."""
    rng = np.random.default_rng(0)
    t_Tx1 = np.arange(round(rate * seconds))[:, None] / rate
    sweep = np.sin(2 * np.pi * (200 + 150 * t_Tx1) * t_Tx1 + np.arange(channels))
    return 0.3 * sweep + 0.1 * rng.standard_normal((len(t_Tx1), channels))


def test_clips_lie_in_the_middle_of_equal_parts():
    assert spread(60.0, 10.0, 1) == [25.0]
    assert spread(60.0, 10.0, 3) == [5.0, 25.0, 45.0]
    assert spread(30.0, 10.0, 3) == [0.0, 10.0, 20.0]
    assert spread(29.9995, 10.0, 3)[0] == 0.0
    with pytest.raises(AudioError, match="too short: 29.900 s; 3 clips of 10 s need 30 s"):
        spread(29.9, 10.0, 3)


@pytest.mark.parametrize(("suffix", "kind"), [
    ("wav", {"subtype": "PCM_16"}), ("wav", {"subtype": "FLOAT"}), ("flac", {}), ("ogg", {}),
    ("mp3", {}), ("mp3", {"bitrate_mode": "CONSTANT", "compression_level": 0.0}),
    ("mp3", {"bitrate_mode": "VARIABLE", "compression_level": 0.5}),
    ("opus", {"format": "OGG", "subtype": "OPUS"}),
])  # fmt: skip
def test_seeking_gives_what_decoding_the_whole_file_gives(tmp_path, suffix, kind):
    path, rate = tmp_path / f"x.{suffix}", 48_000
    soundfile.write(path, music(rate, 9.0), rate, **kind)
    whole_T = soundfile.read(path, dtype="float32")[0].mean(1)
    for start_s in (0.0, 0.7, 3.21, 5.999):
        found_T = read_clip(Clip(path, "x", None, start_s, 3.0), rate)
        start = round(start_s * rate)
        np.testing.assert_allclose(found_T, whole_T[start : start + 3 * rate], atol=2e-6)


def test_an_mp3_without_an_index_is_measured(tmp_path):
    """Its announced length comes from its first frame's bit rate, and misses by a factor."""
    path, music_TxC = tmp_path / "x.mp3", music(44_100, 20.0)
    music_TxC[:44_100] = 0
    soundfile.write(path, music_TxC, 44_100, bitrate_mode="VARIABLE", compression_level=0.5)
    assert length_s(path) == pytest.approx(20, abs=0.1)
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\xff\xfb", content.index(b"Xing")) :])
    assert soundfile.info(path).duration > 30
    assert length_s(path) == pytest.approx(20, abs=0.1)
    (clip,), _ = plan_clips([Track("x", path)], 4.0)
    assert clip.start_s == pytest.approx(8, abs=0.1)
    assert len(read_clip(clip, 16_000)) == 64_000


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 44_101, 48_000, 96_000])
def test_every_rate_gives_as_many_samples(tmp_path, rate):
    path = tmp_path / "x.wav"
    t_T = np.arange(rate * 3) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * t_T), rate, subtype="FLOAT")
    found_T = read_clip(Clip(path, "x", None, 1.0, 2.0), 16_000)
    assert found_T.shape == (32_000,) and found_T.dtype == np.float32
    inner = slice(4_000, 28_000)
    expected_T = 0.5 * np.sin(2 * np.pi * 440 * (1 + np.arange(32_000) / 16_000))
    np.testing.assert_allclose(found_T[inner], expected_T[inner], atol=2e-2)


def test_a_clip_is_resampled_as_if_silence_surrounded_it(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, music(44_100, 5.0, 1), 44_100)
    cut_T = soundfile.read(path, dtype="float32")[0][44_100 : 3 * 44_100]
    found_T = read_clip(Clip(path, "x", None, 1.0, 2.0), 16_000)
    np.testing.assert_allclose(found_T, resample(cut_T, 44_100, 16_000), atol=1e-6)


def test_a_millisecond_may_be_missing(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.full(79_993, 0.5), 8_000)
    (clip,), failures = plan_clips([Track("x", path)], 10.0)
    assert failures == [] and clip.start_s == 0
    audio_T = read_clip(clip, 8_000)
    assert len(audio_T) == 80_000 and (audio_T[79_993:] == 0).all() and audio_T[79_992] == 0.5
    soundfile.write(path, np.full(79_900, 0.5), 8_000)
    clips, (failure,) = plan_clips([Track("x", path)], 10.0)
    assert clips == [] and failure.reason == "too short: 9.988 s; a clip needs 10 s"


def test_damage_elsewhere_does_no_harm_and_here_it_does(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, music(44_100, 12.0, 1), 44_100)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3_000] = bytes(3_000)
    path.write_bytes(content)
    assert np.abs(read_clip(Clip(path, "x", None, 0.5, 2.0), 16_000)).max() > 0.1
    with pytest.raises(AudioError):
        read_clip(Clip(path, "x", None, 5.0, 2.0), 16_000)


def test_loudness_is_measured_before_resampling():
    """So that the gain is the same for embeddings of different rates."""
    audio_T = music(48_000, 3.0, 1)[:, 0].astype(np.float32)
    quiet_T = prepare(audio_T, 48_000, 16_000, 48_000, target_lufs=-30.0)[0]
    plain_T = prepare(audio_T, 48_000, 16_000, 48_000)[0]
    other_T = prepare(audio_T, 48_000, 32_000, 96_000, target_lufs=-30.0)[0]
    other_plain_T = prepare(audio_T, 48_000, 32_000, 96_000)[0]
    gain = np.linalg.norm(quiet_T) / np.linalg.norm(plain_T)
    assert 0.05 < gain < 0.5
    assert np.linalg.norm(other_T) / np.linalg.norm(other_plain_T) == pytest.approx(gain, rel=1e-5)
