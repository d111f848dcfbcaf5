"""Recordings written as they were read."""

import numpy as np
import pytest
import soundfile

from tokenizer_bridge.audio.read import read_audio
from tokenizer_bridge.audio.write import read_comment, subtype_for, write_recording


@pytest.mark.parametrize(
    ("suffix", "subtype", "written"),
    [
        (".wav", "PCM_16", "PCM_16"),
        (".flac", "PCM_24", "PCM_24"),
        (".wav", "FLOAT", "FLOAT"),
        (".ogg", "VORBIS", "PCM_16"),
    ],
)
def test_what_is_read_is_written_to_the_bit(tmp_path, suffix, subtype, written):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-0.999, 0.999, (9000, 2)).astype(np.float32)
    song = tmp_path / f"song{suffix}"
    soundfile.write(song, samples, 44_100, subtype=subtype)
    assert subtype_for(song) == written
    audio_CxT, rate = read_audio(song)
    write_recording(tmp_path / "copy.wav", audio_CxT, rate, written, comment="a note")
    copy_CxT, copied_rate = read_audio(tmp_path / "copy.wav")
    assert copied_rate == rate and read_comment(tmp_path / "copy.wav") == "a note"
    if suffix == ".ogg":  # 16 bits of what has none
        np.testing.assert_allclose(copy_CxT, np.clip(audio_CxT, -1, 1), atol=2**-15)
    else:
        np.testing.assert_array_equal(copy_CxT, audio_CxT)


def test_pcm_is_clipped_and_what_is_no_file_has_16_bits(tmp_path):
    loud = np.array([[1.5, -1.5, 0.5]], np.float32)
    write_recording(tmp_path / "loud.wav", loud, 24_000, "PCM_16")
    samples, _ = soundfile.read(tmp_path / "loud.wav", dtype="int16")
    assert samples.tolist() == [32767, -32768, 16384]
    assert subtype_for(tmp_path / "none.wav") == "PCM_16"
