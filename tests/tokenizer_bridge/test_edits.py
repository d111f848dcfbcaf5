"""Edits of a recording heard in it, and the command that decodes them."""

import numpy as np
import pytest
import soundfile

from tests.tokenizer_bridge.toy_songs import music
from tokenizer_bridge.audio.read import read_audio
from tokenizer_bridge.audio.splice import FADE_S
from tokenizer_bridge.edits import edited_audio
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter
from tokenizer_bridge.wavtokenizer.registry import load_codec

HOP = 8  # of the toy codec, 3,000 tokens/s
COMMAND = "tokenizer_bridge.decode_edits"


def stereo(seconds: float) -> np.ndarray:
    return np.stack([music(seconds, 1), 0.5 * music(seconds, 2)], axis=1)


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """Four seconds, 44.1 kHz, two channels, 24 bits."""
    path = tmp_path_factory.mktemp("song") / "song.wav"
    samples = stereo(7.35)[: 4 * 44100]  # 4 s at another rate
    soundfile.write(path, samples, 44100, subtype="PCM_24")
    return path


@pytest.fixture(scope="module")
def encoded(song, codec_dir, run_command, tmp_path_factory):
    """Its tokens, as `encode` makes them."""
    output = tmp_path_factory.mktemp("encoded") / "tokens"
    outcome = run_command(
        "tokenizer_bridge.encode", f"--audio={song}", "--codec=toy", f"--codec_dir={codec_dir}",
        f"--output={output}", "--splits=none",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    return TokenDataset(output)


@pytest.fixture
def edits(tmp_path, encoded):
    """Two edits of it: from 1.5 to 2 s there are other tokens."""
    return write_edits(tmp_path / "edits", encoded, [(4500, 6000)])


def write_edits(path, encoded, stretches, **song):
    record = encoded.read("train", 0)
    about = {
        "id": record.id,
        "audio": record.source["audio"],
        "num_tokens": len(record.tokens),
        "preparation": encoded.origin["preparation"],
    } | song
    origin = {"song": about, "edit": {"stretches": stretches}}
    with TokenDatasetWriter(path, encoded.codec, origin) as writer:
        for index in range(2):
            tokens = record.tokens.copy()
            for start, stop in stretches:
                rng = np.random.default_rng((index, start))
                tokens[start:stop] = rng.integers(0, 16, stop - start)
            writer.write("generated", Record(f"song-replace-{index:05d}", tokens, 4.0))
    return path


def run(run_command, edits, song, output, codec_dir, *more):
    return run_command(
        COMMAND, f"--tokens={edits}", f"--audio={song}", f"--output={output}",
        f"--codec_dir={codec_dir}", *more,
    )  # fmt: skip


def test_outside_the_fades_every_sample_is_the_recordings(
    run_command, edits, song, codec_dir, tmp_path
):
    outcome = run(run_command, edits, song, tmp_path / "wavs", codec_dir)
    assert outcome.code == 0, outcome.err
    paths = sorted((tmp_path / "wavs").iterdir())
    assert [path.name for path in paths] == ["song-replace-00000.wav", "song-replace-00001.wav"]
    original, rate = soundfile.read(song, dtype="int32", always_2d=True)
    first, last = round((1.5 - FADE_S) * rate), round((2.0 + FADE_S) * rate)
    found = [soundfile.read(path, dtype="int32", always_2d=True)[0] for path in paths]
    for samples, path in zip(found, paths, strict=True):
        assert soundfile.info(path).subtype == "PCM_24" and samples.shape == original.shape
        np.testing.assert_array_equal(samples[:first], original[:first])
        np.testing.assert_array_equal(samples[last:], original[last:])
        inside = np.all(
            samples[first + 2000 : last - 2000] == original[first + 2000 : last - 2000], 1
        )
        assert inside.mean() < 0.01
    assert (found[0] != found[1]).any()
    times = [path.stat().st_mtime_ns for path in paths]
    again = run(run_command, edits, song, tmp_path / "wavs", codec_dir)
    assert again.code == 0 and "2 files existed and were kept" in again.out
    assert [path.stat().st_mtime_ns for path in paths] == times


def test_what_is_refused_is_one_line(run_command, edits, encoded, song, codec_dir, tmp_path):
    other = tmp_path / "other.wav"
    soundfile.write(other, stereo(4.0), 24000)
    part = write_edits(tmp_path / "part", encoded, [(10, 20)], num_tokens=500)
    (tmp_path / "taken").mkdir()
    soundfile.write(tmp_path / "taken/song-replace-00000.wav", np.zeros(100), 24000)
    for source, audio, output, text in (
        (edits, other, "wavs", "is not the recording that was edited, song.wav"),
        (edits, tmp_path / "none.wav", "wavs", "none.wav: missing"),
        (encoded.path, song, "wavs", "holds no edits of a recording"),
        (part, song, "wavs", "was made of a part of"),
        (edits, song, "taken", "exists and is not this edit"),
    ):
        outcome = run(run_command, source, audio, tmp_path / output, codec_dir)
        errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert outcome.code == 1 and len(errors) == 1 and text in errors[0], outcome.err


@pytest.fixture(scope="module")
def network(codec_dir):
    return load_codec("toy", codec_dir=codec_dir)


def test_a_song_goes_on_behind_its_end(network, encoded, song):
    original, rate = read_audio(song)
    tokens = encoded.read("train", 0).tokens
    longer = np.concatenate([tokens, tokens[:1500]])
    edited = edited_audio(*network, original, rate, longer, [(len(tokens), len(longer))])
    assert edited.shape == (2, round(len(longer) * HOP * rate / 24000))
    until = round(original.shape[1] - FADE_S * rate)
    np.testing.assert_array_equal(edited[:, :until], original[:, :until])
    assert np.abs(edited[:, original.shape[1] :]).max() > 0.01


def test_a_song_replaced_to_its_end_is_as_long_as_before(network, encoded, song):
    original, rate = read_audio(song)
    original = original[:, :-3]  # its last token is filled up
    tokens = encoded.read("train", 0).tokens
    edited = edited_audio(*network, original, rate, tokens, [(len(tokens) - 900, len(tokens))])
    assert edited.shape == original.shape


def test_a_song_replaced_from_end_to_end_is_decoded(network, encoded, song):
    original, rate = read_audio(song)
    tokens = encoded.read("train", 0).tokens
    edited = edited_audio(*network, original, rate, tokens, [(0, len(tokens))])
    assert edited.shape == original.shape
    np.testing.assert_array_equal(edited[0], edited[1])
