"""Reading, resampling and writing audio, and what is not taken for audio."""

import os
import resource

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from tokenizer_bridge.audio.read import AudioError, length_s, read_audio, stream_mono
from tokenizer_bridge.audio.resample import StreamResampler, resample
from tokenizer_bridge.audio.sound_file import BLOCK_FRAMES
from tokenizer_bridge.audio.write import write_audio
from tokenizer_bridge.token_dataset.errors import is_disk_full


def sine(seconds: float, rate: int, frequency: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(num_samples).astype(np.float32)


def mono(path, rate: int = 24000) -> np.ndarray:
    return np.concatenate(list(stream_mono(path, rate)))


def reason(path) -> str:
    with pytest.raises(AudioError) as caught:
        mono(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
def test_resampling_in_blocks_is_torchaudios(rate):
    signal = 0.3 * noise(rate + 17)
    resampler = StreamResampler(rate, 24000)
    cuts = np.sort(np.random.default_rng(1).integers(0, len(signal), 6))
    blocks = [resampler.push(block) for block in np.split(signal, cuts)]
    ours = np.concatenate([*blocks, resampler.finish()])
    theirs = torchaudio.functional.resample(torch.from_numpy(signal), rate, 24000).numpy()
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_resampling_very_short_and_equal_rates():
    for num_samples in (1, 2, 100):
        signal = noise(num_samples)
        theirs = torchaudio.functional.resample(torch.from_numpy(signal), 44100, 24000).numpy()
        np.testing.assert_allclose(resample(signal, 44100, 24000), theirs, atol=1e-5)
    np.testing.assert_array_equal(resample(signal, 24000, 24000), signal)


@pytest.mark.parametrize("rate", [7919, 44101])
def test_odd_rates_take_no_giant_kernel(rate):
    resampled = resample(sine(1.0, rate), rate, 24000)
    assert abs(len(resampled) - 24000) <= 12
    spectrum = np.abs(np.fft.rfft(resampled * np.hanning(len(resampled))))
    assert abs(spectrum.argmax() * 24000 / len(resampled) - 440) < 1


@pytest.mark.parametrize(("suffix", "subtype"), [
    ("wav", "PCM_16"), ("wav", "FLOAT"), ("flac", "PCM_24"), ("ogg", "VORBIS"), ("opus", "OPUS"),
    ("mp3", "MPEG_LAYER_III"), ("aiff", "PCM_16"), ("au", "PCM_16"), ("w64", "PCM_16"),
])  # fmt: skip
def test_formats(tmp_path, suffix, subtype):
    path = tmp_path / f"x.{suffix}"
    signal = sine(1.0, 24000)
    fmt = "OGG" if suffix == "opus" else suffix.upper()
    soundfile.write(path, signal, 24000, format=fmt, subtype=subtype)
    decoded = mono(path)
    assert len(decoded) == len(signal)
    error = np.linalg.norm(decoded - signal) / np.linalg.norm(signal)
    assert error < (0.2 if suffix in ("ogg", "opus", "mp3") else 1e-3)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (192000, 8)])
def test_any_rate_and_channel_count(tmp_path, rate, channels):
    path = tmp_path / "x.wav"
    channels_TxC = np.zeros((rate * 2, channels), np.float32)
    channels_TxC[:, 0] = sine(2.0, rate) * channels  # so that the mean is the sine
    soundfile.write(path, channels_TxC, rate, subtype="FLOAT")
    decoded = mono(path)
    assert len(decoded) == 48000
    np.testing.assert_allclose(decoded[500:-500], sine(2.0, 24000)[500:-500], atol=2e-3)
    samples_CxT, sample_rate = read_audio(path)
    assert sample_rate == rate
    np.testing.assert_array_equal(samples_CxT, channels_TxC.T)


def test_levels_are_left_alone(tmp_path):
    for gain in (4.0, 0.001):
        soundfile.write(tmp_path / "x.wav", gain * sine(0.5, 24000), 24000, subtype="FLOAT")
        np.testing.assert_array_equal(mono(tmp_path / "x.wav"), gain * sine(0.5, 24000))


def test_a_long_file_is_read_in_blocks(tmp_path):
    signal = 0.1 * noise(BLOCK_FRAMES * 2 + 100)
    soundfile.write(tmp_path / "x.wav", signal, 24000, subtype="FLOAT")
    blocks = list(stream_mono(tmp_path / "x.wav", 24000))
    assert len(blocks) > 2
    np.testing.assert_array_equal(np.concatenate(blocks), signal)


def test_no_audio(tmp_path):
    path = tmp_path / "x.mp3"
    assert reason(path) == "missing, or a link that leads nowhere"
    path.write_bytes(b"")
    assert reason(path) == "empty: 0 bytes"
    path.write_text("a text file\n" * 5000)
    assert reason(path) == "not audio but text"
    os.mkfifo(tmp_path / "pipe.wav")
    assert reason(tmp_path / "pipe.wav") == "not a regular file"


def test_zero_length_short_and_silent(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros(0), 24000)
    assert reason(path) == "holds no samples"
    soundfile.write(path, sine(0.09, 24000), 24000)
    assert reason(path).startswith("too short: 0.09 s")
    dither = np.random.default_rng(0).integers(-2, 3, (24000, 2)) / 2**15
    for silence in (np.zeros((24000, 2)), dither):
        soundfile.write(path, silence, 24000)
        assert reason(path).startswith("silent")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_that_are_not_finite(tmp_path, bad):
    signal = sine(1.0, 24000)
    signal[12345] = bad
    soundfile.write(tmp_path / "x.wav", signal, 24000, subtype="FLOAT")
    assert "not finite" in reason(tmp_path / "x.wav")


def test_samples_that_are_not_scaled(tmp_path):
    soundfile.write(tmp_path / "x.wav", 32767 * sine(1.0, 24000), 24000, subtype="FLOAT")
    assert reason(tmp_path / "x.wav").startswith("samples are not scaled to ±1 (peak 9.83e+03)")


@pytest.mark.parametrize("rate", [1, 5, 2**31 - 1])
def test_a_sample_rate_that_no_file_has(tmp_path, rate):
    soundfile.write(tmp_path / "x.wav", sine(1.0, 24000), 24000)
    header = bytearray((tmp_path / "x.wav").read_bytes())
    header[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "x.wav").write_bytes(header)
    assert reason(tmp_path / "x.wav") == f"a sample rate of {rate} Hz: the header is damaged"


@pytest.mark.parametrize(("suffix", "subtype"), [
    ("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("opus", "OPUS"),
    ("mp3", "MPEG_LAYER_III"), ("aiff", "PCM_16"), ("au", "PCM_16"), ("w64", "PCM_16"),
])  # fmt: skip
def test_files_cut_short(tmp_path, suffix, subtype):
    path = tmp_path / f"x.{suffix}"
    fmt = "OGG" if suffix == "opus" else suffix.upper()
    soundfile.write(path, 0.1 * noise(24000 * 8), 24000, format=fmt, subtype=subtype)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "cut short" in reason(path) or "damaged" in reason(path)


def test_a_wav_written_to_a_pipe_is_not_cut_short(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, sine(1.0, 24000), 24000)
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff" * 4  # what ffmpeg writes where it cannot go back
    path.write_bytes(data)
    assert len(mono(path)) == 24000


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_writing(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    signal = np.append(sine(0.5, 24000), [1.5, -1.5, 1.0]).astype(np.float32)
    write_audio(path, signal, 24000)
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (24000, 1, "PCM_16")
    (decoded,), rate = read_audio(path)
    assert rate == 24000
    np.testing.assert_allclose(decoded, signal.clip(-1, 1), atol=1 / 2**14)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_disk_that_fills_leaves_nothing(tmp_path):
    path = tmp_path / "x.wav"
    write_audio(path, sine(0.1, 24000), 24000)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError) as caught:
            write_audio(path, sine(4.0, 24000), 24000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_disk_full(caught.value)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_an_ogg_page_that_the_reader_drops_is_missed(tmp_path):
    whole, damaged = tmp_path / "whole.ogg", tmp_path / "damaged.ogg"
    soundfile.write(whole, 0.1 * noise(24_000 * 8), 24_000)
    dropped = 0
    for place in np.linspace(0.2, 0.8, 5):
        data = bytearray(whole.read_bytes())
        data[int(len(data) * place)] ^= 1
        damaged.write_bytes(data)
        announced = soundfile.info(damaged).frames
        if announced == 24_000 * 8 and len(soundfile.read(damaged)[0]) < announced:
            dropped += 1
            assert "a part is missing near" in reason(damaged)
    assert dropped


def test_flac_of_unknown_length_is_refused_without_ffmpeg(tmp_path, without_ffmpeg):
    path = tmp_path / "piped.flac"
    soundfile.write(path, np.full(24_000, 0.1), 24_000)
    header = bytearray(path.read_bytes())
    header[21] &= 0xF0  # 36 bits: the number of samples, 0 if unknown
    header[22:26] = bytes(4)
    path.write_bytes(header)
    for read in (length_s, lambda path: list(stream_mono(path, 24_000))):
        with pytest.raises(AudioError, match="does not say how long it is"):
            read(path)
