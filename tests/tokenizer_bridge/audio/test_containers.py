"""Files of which the name, the header and the content disagree."""

import struct

import numpy as np
import pytest
import soundfile

from tokenizer_bridge.audio import mp3
from tokenizer_bridge.audio.kinds import kind_of
from tokenizer_bridge.audio.read import AudioError, length_s, read_excerpt, stream_mono

RATE = 24_000


def music(seconds, seed=0, channels=2):
    rng = np.random.default_rng(seed)
    time_Tx1 = np.arange(round(seconds * RATE))[:, None] / RATE
    tones_TxC = 0.2 * np.sin(2 * np.pi * rng.uniform(100, 900, channels) * time_Tx1)
    return (tones_TxC + 0.02 * rng.standard_normal(tones_TxC.shape)).astype(np.float32)


def mono(path):
    return np.concatenate(list(stream_mono(path, RATE)))


def reason(path):
    with pytest.raises(AudioError) as caught:
        mono(path)
    return str(caught.value)


@pytest.mark.parametrize(("suffix", "subtype"), [("ogg", "VORBIS"), ("opus", "OPUS")])
def test_ogg_files_joined_end_to_end(tmp_path, without_ffmpeg, suffix, subtype):
    paths = [tmp_path / f"{i}.{suffix}" for i in range(3)]
    for seed, path in enumerate(paths):
        soundfile.write(path, music(1.0 + seed, seed), RATE, format="OGG", subtype=subtype)
    chain = tmp_path / f"chain.{suffix}"
    chain.write_bytes(b"".join(path.read_bytes() for path in paths))
    parts = [mono(path) for path in paths]
    # The streams are resampled as one signal, Opus from 48 kHz.
    np.testing.assert_allclose(mono(chain), np.concatenate(parts), atol=0.05)
    assert length_s(chain) == pytest.approx(6.0, abs=1e-3)
    whole_T = np.concatenate([soundfile.read(path, dtype="float32")[0].mean(1) for path in paths])
    excerpt_T, rate = read_excerpt(chain, 0.5, 3.0)
    np.testing.assert_allclose(excerpt_T, whole_T[rate // 2 :][: 3 * rate], atol=2e-3)
    chain.write_bytes(chain.read_bytes()[:-3000])
    assert reason(chain).startswith("cut short")


def test_ogg_streams_of_different_kinds_are_told(tmp_path, without_ffmpeg):
    for name, rate in (("a", RATE), ("b", 16_000)):
        soundfile.write(tmp_path / f"{name}.ogg", music(1.0), rate)
    joined = tmp_path / "joined.ogg"
    joined.write_bytes(b"".join((tmp_path / f"{name}.ogg").read_bytes() for name in "ab"))
    assert reason(joined).startswith("Ogg: its 2 streams, one after another, differ in sample rate")
    assert "install ffmpeg" in reason(joined)


def as_wav(content, tag, announced):
    """A WAV as ffmpeg writes it, of MPEG audio; announced: samples, in its `fact`."""
    fmt = struct.pack("<HHIIHHH", tag, 2, RATE, 16_000, 1, 0, 12) + struct.pack(
        "<HIHHH", 1, 2, 1152, 1, 1393
    )
    chunks = b"fmt " + struct.pack("<I", len(fmt)) + fmt
    chunks += b"fact" + struct.pack("<II", 4, announced)
    chunks += b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def test_mp3_inside_a_wav(tmp_path, without_ffmpeg):
    bare, path = tmp_path / "x.mp3", tmp_path / "x.wav"
    soundfile.write(bare, music(8.0), RATE)
    frames = bare.read_bytes()[mp3.survey(bare).start :]
    bare.write_bytes(frames)
    path.write_bytes(as_wav(frames, 0x55, len(mono(bare)) + 1105))
    np.testing.assert_array_equal(mono(path), mono(bare))
    assert length_s(path) == length_s(bare)
    path.write_bytes(path.read_bytes()[: len(frames) // 2])
    assert reason(path).startswith("cut short")


def changed(path, marker, offset, value, form="<I"):
    """Overwrites a number at an offset behind a marker's first occurrence."""
    data = bytearray(path.read_bytes())
    place = data.index(marker) + len(marker) + offset
    data[place : place + struct.calcsize(form)] = struct.pack(form, value)
    path.write_bytes(data)


@pytest.mark.parametrize(("offset", "value", "form", "text"), [
    (6, 1, "<H", "1 channels of 16 bits, in 4 bytes instead of 2"),
    (18, 24, "<H", "2 channels of 24 bits, in 4 bytes instead of 6"),
    (16, 6, "<H", "2 channels of 16 bits, in 6 bytes instead of 4"),
    (8, 12_000, "<I", "12,000 Hz, and 96,000 bytes a second, which is 24,000 Hz"),
])  # fmt: skip
def test_a_wav_header_that_contradicts_itself(tmp_path, offset, value, form, text):
    path = tmp_path / "x.wav"
    soundfile.write(path, music(1.0), RATE)
    changed(path, b"fmt ", offset, value, form)
    assert reason(path) == f"a header that contradicts itself: {text}"


def test_a_wav_header_that_announces_a_part_only(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, music(4.0), RATE)
    changed(path, b"data", 0, RATE * 4)
    assert reason(path).endswith("96,000 bytes of audio, and 288,000 follow")
    soundfile.write(path, music(4.0), RATE)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 500_000) + bytes(500_000))
    assert len(mono(path)) == 4 * RATE  # a chunk may follow


def test_a_wav_whose_recorder_did_not_end(tmp_path, without_ffmpeg):
    path = tmp_path / "x.wav"
    soundfile.write(path, music(1.0), RATE)
    changed(path, b"data", 0, 0)
    assert reason(path).startswith("WAV: its header does not say how long it is: install ffmpeg")


def test_a_flac_that_announces_more_than_it_has(tmp_path):
    path = tmp_path / "x.flac"
    soundfile.write(path, music(2.0), RATE)
    changed(path, b"fLaC", 18, 5 * RATE, ">I")
    assert reason(path) == "damaged: a part is missing near 2.0 s of 5.0 s"


def test_an_mp3_index_that_announces_less_than_there_is(tmp_path):
    path = tmp_path / "x.mp3"
    soundfile.write(path, music(8.0), 44_100, bitrate_mode="CONSTANT", compression_level=0.1)
    whole_s = length_s(path)
    marker = b"Info" if b"Info" in path.read_bytes() else b"Xing"
    changed(path, marker, 4, 40, ">I")
    assert length_s(path) == pytest.approx(whole_s, abs=0.1)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "flac", "ogg", "m4a"])
@pytest.mark.parametrize("format", ["WAV", "MP3", "FLAC", "OGG"])
def test_the_name_does_not_matter(tmp_path, without_ffmpeg, suffix, format):
    path = tmp_path / f"x.{suffix}"
    soundfile.write(path, music(1.0), RATE, format=format)
    assert len(mono(path)) == RATE


@pytest.mark.parametrize(("content", "kind"), [
    (b"<!DOCTYPE html><html>", "a web page"), (b"\xff\xd8\xff\xe0JFIF", "a picture"),
    (b"PK\x03\x04", "a ZIP archive"), (bytes(4096), "nothing but zeros"),
    (b"#EXTM3U\na.mp3", "a playlist"), (b"MThd", "MIDI, which holds notes and no sound"),
])  # fmt: skip
def test_what_is_no_audio_is_called_what_it_is(tmp_path, content, kind):
    path = tmp_path / "x.mp3"
    path.write_bytes(content)
    assert kind_of(path) == (kind, False)
    assert reason(path) == f"not audio but {kind}"
