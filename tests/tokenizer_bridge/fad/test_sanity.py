"""The command that tells whether an embedding orders known damage."""

import json

import numpy as np
import pytest
import torch

from tests.tokenizer_bridge.sources.layouts import ROWS, make_jamendo, write_tsv
from tokenizer_bridge.audio.write import write_audio
from tokenizer_bridge.fad import sanity, sanity_check
from tokenizer_bridge.fad.embeddings import Embedding, EmbeddingInfo
from tokenizer_bridge.fad.extrapolation import Estimate
from tokenizer_bridge.fad.measure import Comparison
from tokenizer_bridge.fad.measured_set import SetSize
from tokenizer_bridge.fad.ordering import orderings
from tokenizer_bridge.token_dataset.errors import UserError

RATE = 24_000


class Spectrum(torch.nn.Module):
    """Log power in 6 bands of each half second."""

    min_samples = RATE // 2

    def forward(self, audio_BxT):
        windows_BxWxT = audio_BxT.unfold(1, RATE // 2, RATE // 2)
        power_BxWxF = torch.fft.rfft(windows_BxWxT).abs().square()[..., :6000]
        return (power_BxWxF.unflatten(2, (6, 1000)).mean(3) + 1e-3).log10()


INFO = EmbeddingInfo("musicnn", "00", 6, RATE, 0.5, 0.5)


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    """36 pieces of noise that falls off towards high frequencies, each in its own way."""
    folder, rng = tmp_path_factory.mktemp("music"), np.random.default_rng(0)
    for i in range(36):
        spectrum = np.fft.rfft(rng.standard_normal(RATE))
        spectrum /= (1 + np.arange(len(spectrum)) / 100) ** rng.uniform(0.8, 1.2)
        samples = np.fft.irfft(spectrum)
        write_audio(folder / f"{i}.wav", 0.5 * samples / np.abs(samples).max(), RATE)
    return folder


def run(monkeypatch, codec_dir, **given):
    embedding = Embedding(INFO, _with_weights())
    monkeypatch.setattr(sanity_check, "load_embedding", lambda *asked: embedding)
    arguments = {"codec": "toy", "codec_dir": codec_dir, "clip_s": 1.0} | given
    sanity.main([f"--{name}={value}" for name, value in arguments.items()])


def _with_weights():
    network = Spectrum()
    network.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))
    return network


def test_an_embedding_that_hears_the_spectrum(music, codec_dir, tmp_path, monkeypatch, capsys):
    output = tmp_path / "figures" / "sanity.json"
    run(
        monkeypatch,
        codec_dir,
        audio=str(music),
        cache_dir=str(tmp_path / "cache"),
        output=str(output),
    )
    figures = json.loads(output.read_text())
    compared = figures["compared"]
    assert len(compared) == 5 + 4 + 4 + 3 + 3
    assert compared["real_vs_real"]["generated"]["n_files"] == 18
    assert compared["white_noise"]["kad"]["low"] > compared["real_vs_real"]["kad"]["high"]
    assert figures["orders"]["low_pass"]["fad_infinity"] in ("rising", "apart")
    assert figures["orders"]["noise"]["fad_infinity"] in ("rising", "apart")
    assert any("no artists are known" in warning for warning in figures["warnings"])
    printed = capsys.readouterr().out
    assert "18 files, 18 clips a half" in printed
    assert "low_pass: fad: rising" in printed
    assert "low-pass at 6,000 Hz  " in printed and "to 0.9 of the tempo and back  " in printed
    assert "controls (without silence): fad: " in printed
    assert "tempo (compare with there and back: the phase vocoder's own sound): fad: " in printed
    assert list(figures["orders"]) == ["controls", "low_pass", "noise", "tempo"]


def test_a_file_that_cannot_be_used_is_named(music, codec_dir, tmp_path, monkeypatch):
    folder = tmp_path / "music"
    folder.mkdir()
    for path in music.iterdir():
        (folder / path.name).symlink_to(path)
    write_audio(folder / "short.wav", np.full(RATE // 2, 0.1), RATE)
    given = {"audio": str(folder), "cache_dir": str(tmp_path), "output": str(tmp_path / "o")}
    with pytest.raises(UserError, match=r"1 files cannot be used, the first is .*short.wav: too s"):
        run(monkeypatch, codec_dir, **given)


def test_mtg_jamendo_with_its_tsv_elsewhere(codec_dir, tmp_path, monkeypatch):
    """The check gets as far as the files, half a second each; the source may be named, too."""
    jamendo = make_jamendo(tmp_path / "jamendo")
    given = {"audio": str(jamendo), "cache_dir": str(tmp_path), "output": str(tmp_path / "o")}
    with pytest.raises(UserError, match="holds 0 TSVs: say which is the official one"):
        run(monkeypatch, codec_dir, **given)
    given |= {"metadata": str(write_tsv(tmp_path / "raw.tsv", ROWS))}
    with pytest.raises(UserError, match="6 files cannot be used, the first is .*mp3: too short"):
        run(monkeypatch, codec_dir, **given)
    with pytest.raises(UserError, match="metadata: only the source mtg_jamendo has it"):
        run(monkeypatch, codec_dir, **given | {"audio": f"folder:{jamendo}"})


SIZE = SetSize("any", 16, 16, 16, 0, 16, "files")


def estimate(value, margin):
    return Estimate(value, value - margin, value + margin)


@pytest.mark.parametrize(
    ("values", "margin", "verdict", "without_intervals"),
    [
        ((1, 2, 3), 0.4, "apart", "rising"),
        ((1, 2, 3), 0.6, "rising", "rising"),
        ((12.581, 12.572, 20), 5, "not told apart", "not rising"),
        ((1, 1), 0.1, "not told apart", "not rising"),
        ((3, 2), 0.6, "not told apart", "not rising"),
        ((3, 2), 0.4, "falling", "not rising"),
        ((3, 2.5, 2), 0.4, "falling", "not rising"),  # the last below the first
    ],
)
def test_verdicts(values, margin, verdict, without_intervals):
    compared = {
        str(i): Comparison(SIZE, SIZE, value, None, estimate(value, margin), None)
        for i, value in enumerate(values)
    }
    assert orderings(compared, {"row": list(compared)}) == {
        "row": {"fad": without_intervals, "fad_infinity": None, "kad": verdict}
    }


def test_what_would_fail_at_the_end_is_refused_at_once(music, codec_dir, tmp_path, monkeypatch):
    given = {"audio": str(music), "cache_dir": str(tmp_path / "cache")}
    with pytest.raises(UserError, match="--output=.* is a folder"):
        run(monkeypatch, codec_dir, output=str(tmp_path), **given)
    with pytest.raises(UserError, match="15 files in each half; distances need at least 16"):
        run(monkeypatch, codec_dir, output=str(tmp_path / "x.json"), num_tracks=30, **given)
    assert not (tmp_path / "cache").exists()
