"""MP3s whose announced length is wrong: without an index, of which files with one are made here."""

import numpy as np
import pytest
import soundfile

from tokenizer_bridge.audio import mp3
from tokenizer_bridge.audio.read import (
    AudioError,
    length_s,
    read_excerpt,
    stream_mono,
)
from tokenizer_bridge.audio.sound_file import BLOCK_FRAMES

TAG = b"ID3\x04\0\0\0\0\x02\0" + bytes(256)
DELAY = 576  # samples by which music starts later without an index: it says what the encoder added


def write_mp3(path, rate=44_100, channels=2, seconds=20.0, loud_s=(0.0, 3.0), mode="VARIABLE"):
    """A faint tone, with noise from loud_s[0] to loud_s[1]: there the bit rate is high."""
    time_Tx1 = np.arange(round(rate * seconds))[:, None] / rate
    tone_TxC = 0.01 * np.sin(2 * np.pi * 440 * time_Tx1 + np.arange(channels))
    noise_TxC = 0.2 * np.random.default_rng(0).standard_normal(tone_TxC.shape)
    is_loud = (loud_s[0] <= time_Tx1) & (time_Tx1 < loud_s[1])
    soundfile.write(
        path, np.where(is_loud, noise_TxC, tone_TxC), rate, bitrate_mode=mode, compression_level=0.5
    )


def frames_of(path) -> bytes:
    """A file's frames without the index."""
    return path.read_bytes()[mp3.survey(path).start :]


def decoded(path, rate=44_100):
    return np.concatenate(list(stream_mono(path, rate)))


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (48_000, 1), (22_050, 2), (8_000, 1)])
@pytest.mark.parametrize("loud_s", [(0.0, 3.0), (3.0, 20.0)])
def test_all_of_a_file_without_an_index_is_read(tmp_path, rate, channels, loud_s):
    path, bare = tmp_path / "x.mp3", tmp_path / "bare.mp3"
    write_mp3(path, rate, channels, loud_s=loud_s)
    bare.write_bytes(TAG + frames_of(path) + b"TAG" + bytes(125))
    assert abs(soundfile.info(bare).duration - 20) > 3  # what libsndfile guesses
    assert length_s(path) == 20
    assert length_s(bare) == pytest.approx(20, abs=2_000 / rate)
    whole_T, bare_T = decoded(path, rate), decoded(bare, rate)
    assert len(bare_T) == round(length_s(bare) * rate)
    np.testing.assert_allclose(bare_T[DELAY:][: len(whole_T)], whole_T, atol=1e-6)
    excerpt_T, _ = read_excerpt(bare, 17.0, 2.0)
    np.testing.assert_allclose(excerpt_T, bare_T[17 * rate :][: 2 * rate], atol=1e-6)


def test_reads_in_parts_are_parts_of_one_read(tmp_path):
    """Frames of low bit rate need several before them: after seeking these must be read too."""
    path = tmp_path / "x.mp3"
    write_mp3(path, seconds=15.0)
    whole_T = soundfile.read(path, dtype="float32")[0].mean(1)
    assert len(whole_T) > 2 * BLOCK_FRAMES
    np.testing.assert_allclose(decoded(path), whole_T, atol=1e-6)
    for start in (44_100, 200_000, 400_000):
        excerpt_T, _ = read_excerpt(path, start / 44_100, 1.0)
        np.testing.assert_allclose(excerpt_T, whole_T[start:][:44_100], atol=1e-6)


def test_an_index_is_believed_without_reading_on(tmp_path, monkeypatch):
    path = tmp_path / "x.mp3"
    write_mp3(path)
    monkeypatch.setattr(mp3, "_count_frames", None)
    survey = mp3.survey(path)
    assert (survey.found, survey.layer) == (None, 3)
    assert 0 <= survey.indexed / 44_100 - 20 < 0.1
    assert len(decoded(path)) == 20 * 44_100


def test_files_joined_end_to_end_are_read_to_the_end(tmp_path):
    """The index of the first knows nothing of the others."""
    first, second, joined = (tmp_path / f"{name}.mp3" for name in "abc")
    write_mp3(first, seconds=5.0)
    write_mp3(second, seconds=15.0, mode="CONSTANT")
    joined.write_bytes(first.read_bytes() + TAG + second.read_bytes())
    assert length_s(joined) == pytest.approx(20, abs=0.2)
    assert len(decoded(joined)) / 44_100 == pytest.approx(20, abs=0.2)


def test_long_tags_at_the_end_are_no_sign_of_anything(tmp_path):
    path = tmp_path / "x.mp3"
    write_mp3(path)
    art = np.random.default_rng(0).integers(0, 256, 200_000, np.uint8).tobytes()
    path.write_bytes(path.read_bytes() + art)
    assert mp3.survey(path).found == mp3.survey(path).indexed
    assert length_s(path) == 20


def test_an_index_of_another_kind_is_replaced(tmp_path):
    path, other = tmp_path / "x.mp3", tmp_path / "y.mp3"
    write_mp3(path)
    start = mp3.survey(path).start
    content = path.read_bytes()
    frame = content[:36] + b"VBRI" + bytes(start - 40)
    other.write_bytes(frame + content[start:])
    assert length_s(other) == pytest.approx(20, abs=0.1)
    np.testing.assert_allclose(decoded(other)[DELAY:][: 20 * 44_100], decoded(path), atol=1e-6)


def test_a_file_cut_short_is_refused_for_clips_too(tmp_path):
    path = tmp_path / "x.mp3"
    write_mp3(path, loud_s=(0.0, 20.0))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(AudioError, match=r"^cut short: 20\.0 s announced, (9|10)\.\d s found$"):
        length_s(path)


def test_layer_2_of_several_bit_rates_is_refused_without_ffmpeg(tmp_path, without_ffmpeg):
    """It has no index, and libsndfile knows no other way to read it whole."""

    def silent_frames(rate_index, num_bytes, count):
        return count * bytes([0xFF, 0xFD, rate_index << 4, 0]).ljust(num_bytes, b"\0")

    path = tmp_path / "x.mp3"
    path.write_bytes(silent_frames(10, 626, 200))  # 192 kbit/s at 44.1 kHz
    assert length_s(path) == pytest.approx(200 * 1152 / 44_100, rel=0.01)
    path.write_bytes(silent_frames(10, 626, 10) + silent_frames(2, 156, 400))
    with pytest.raises(
        AudioError, match=r"^MP3: its 10\.7 s would be read as \d\.\d s: install ffmpeg"
    ):
        length_s(path)


def test_an_index_of_nothing(tmp_path):
    path = tmp_path / "x.mp3"
    write_mp3(path)
    start = mp3.survey(path).start
    content = path.read_bytes()
    path.write_bytes(content[:36] + b"VBRI" + content[40 : start + 50])
    with pytest.raises(AudioError, match="holds no samples"):
        length_s(path)


def test_frames_of_no_known_size_are_refused(tmp_path):
    path = tmp_path / "x.mp3"
    path.write_bytes(200 * bytes([0xFF, 0xFB, 0x00, 0]).ljust(500, b"\0"))  # free format
    assert mp3.survey(path) is None
    with pytest.raises(AudioError):
        length_s(path)


def test_damage_that_the_decoder_gives_up_on_has_its_place(tmp_path):
    """libsndfile calls it an unspecified internal error."""
    path = tmp_path / "x.mp3"
    write_mp3(path, loud_s=(0.0, 20.0))
    data = bytearray(path.read_bytes())
    middle = len(data) * 3 // 4
    data[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(data)
    with pytest.raises(AudioError, match=r"^(damaged MP3, behind \d+\.\d s|cut short: )"):
        decoded(path)
