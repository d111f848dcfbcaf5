"""The codec as an object does what the commands do."""

import dataclasses
import re

import numpy as np
import pytest
import soundfile

from tests.programs import ROOT
from tests.tokenizer_bridge.toy_songs import HOP, music
from tokenizer_bridge import Codec
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter


@pytest.fixture(scope="module")
def toy(codec_dir):
    return Codec.load("toy", directory=codec_dir)


def test_it_says_what_it_is(toy):
    assert (toy.sample_rate, toy.hop_length, toy.codebook_size) == (24_000, HOP, 16)
    assert toy.token_rate == 3_000


def test_codes_are_those_of_the_command(toy, codec_dir, songs, tmp_path, run_command):
    output = tmp_path / "tokens"
    flags = f"--audio={songs} --output={output} --codec=toy --codec_dir={codec_dir}".split()
    assert run_command("tokenizer_bridge.encode", *flags).code == 0
    dataset = TokenDataset(output)
    for split in dataset.splits:
        for record in dataset.records(split):
            codes = toy.encode(songs / record.id)
            np.testing.assert_array_equal(codes, record.tokens)
            samples, rate = soundfile.read(songs / record.id, dtype="float32")
            np.testing.assert_array_equal(toy.encode(samples, rate), codes)


def test_audio_is_that_of_the_command(toy, codec_dir, tmp_path, run_command):
    codes_NxL = np.random.default_rng(0).integers(0, 16, (2, 12_000)).astype(np.uint16)
    with TokenDatasetWriter(tmp_path / "tokens", dataclasses.asdict(toy.info)) as writer:
        for i, codes in enumerate(codes_NxL):
            writer.write("generated", Record(f"{i}", codes, 4.0))
    flags = f"--tokens={tmp_path}/tokens --output={tmp_path}/wavs --codec_dir={codec_dir}".split()
    assert run_command("tokenizer_bridge.decode", *flags).code == 0
    audio_NxT = toy.decode(codes_NxL)
    assert audio_NxT.shape == (2, 12_000 * HOP) and audio_NxT.dtype == np.float32
    for i in range(2):  # files hold 16 bits
        written, _ = soundfile.read(tmp_path / f"wavs/{i}.wav", dtype="float32")
        np.testing.assert_allclose(np.clip(audio_NxT[i], -1, 1), written, atol=2**-15)
        np.testing.assert_array_equal(toy.decode(codes_NxL[i]), audio_NxT[i])


def test_channels_are_mixed_and_rates_converted(toy):
    song = music(1.0, 0)
    stereo = np.stack([song * 0.5, song * 1.5])
    np.testing.assert_array_equal(toy.encode(stereo), toy.encode(song))
    assert len(toy.encode(song, 48_000)) == len(toy.encode(song)) // 2


def test_another_codec_than_the_described_one_is_refused(toy, codec_dir):
    described = dataclasses.asdict(toy.info)
    assert Codec.load(described, directory=codec_dir).info == toy.info
    with pytest.raises(UserError, match="hop_length 8 here"):
        Codec.load(described | {"hop_length": 320}, directory=codec_dir)


@pytest.mark.parametrize(
    "audio, text",
    [
        (np.zeros((24_000, 2), np.float32), "more channels than samples"),
        (np.zeros(24_000, np.int16), "int16"),
        (np.zeros((1, 1, 24_000)), "(1, 1, 24000)"),
        (np.zeros(0), "(0,)"),
        (np.full(24_000, np.nan), "not finite"),
    ],
)
def test_arrays_that_are_no_audio_are_refused(toy, audio, text):
    with pytest.raises(UserError) as refusal:
        toy.encode(audio)
    assert text in str(refusal.value)


def test_what_is_neither_path_nor_array_is_refused(toy):
    with pytest.raises(UserError, match="a path or a numpy array of floats, not a list"):
        toy.encode([0.0] * 2400)
    for rate in (0, -1, 2.5, np.nan):
        with pytest.raises(ValueError, match="sample_rate is"):
            toy.encode(np.zeros(2400), rate)
    with pytest.raises(UserError, match="the rows differ"):
        toy.decode([[1, 2], [3]])


@pytest.mark.parametrize("codec", [None, 3, {}, {"name": "demo"}])
def test_what_describes_no_codec_is_refused(codec):
    with pytest.raises(UserError, match="a codec is its name, or what a model"):
        Codec.load(codec)


def test_files_that_are_no_audio_are_refused(toy, tmp_path):
    path = tmp_path / "song.mp3"
    path.write_bytes(b"not music")
    with pytest.raises(UserError, match="song.mp3"):
        toy.encode(path)
    with pytest.raises(UserError, match="none.wav"):
        toy.encode(tmp_path / "none.wav")


@pytest.mark.parametrize(
    "tokens", [np.zeros((1, 1, 3), int), np.zeros(0, int), [0, 16], [-1], [0.5, 1.0]]
)
def test_what_no_codes_are_is_refused(toy, tokens):
    with pytest.raises(UserError, match="tokens"):
        toy.decode(np.asarray(tokens))


def test_the_example_of_the_readme_runs(tmp_path, monkeypatch):
    text = (ROOT / "tokenizer_bridge/README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    soundfile.write(tmp_path / "song.wav", music(1.0, 0), 24_000)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(code, names)
    assert names["codes"].shape == (75,) and names["codes"].dtype == np.uint16
    assert names["audio"].shape == (75 * names["codec"].hop_length,)
