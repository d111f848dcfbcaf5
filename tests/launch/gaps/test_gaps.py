"""Gaps: where they lie, what fills them in, and how far that is from what was there."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from launch import measure_gaps
from launch.gaps import job
from launch.gaps.cases import gap_case, transition_case
from launch.gaps.measuring import measure
from launch.gaps.repairs import join, make_repairs
from sedd_jax import Model
from sedd_jax.model import build
from sedd_jax.sampling.settings import settle
from tests.sedd_jax.toy import toy_config
from tests.sedd_jax.toy_run import random_params
from tests.tokenizer_bridge.toy_songs import music
from tokenizer_bridge import Codec
from tokenizer_bridge.fad.embeddings import untrained_embedding
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer.registry import load_codec

LENGTH = 320  # tokens of the toy model, 0.1 s


@pytest.fixture(scope="module")
def toy_codec(codec_dir):
    return Codec(*load_codec("toy", codec_dir=codec_dir))


@pytest.fixture(scope="module")
def toy_model(toy_codec):
    definition = build(toy_config(model__length=LENGTH), vars(toy_codec.info))
    return Model(definition, random_params(definition), 0)


def test_a_gap_lies_in_the_middle_and_touches_tokens_in_part():
    case = gap_case(100, 1.0, sample_rate=24_000, hop_length=320)
    assert (case.name, case.clip, case.begin, case.end) == ("100 ms", 24_000, 10_800, 13_200)
    assert case.tokens(320) == (33, 42)  # 33.75 to 41.25
    transition = transition_case(24, 320)
    assert transition.tokens(320) == (96, 120) and transition.clip == 216 * 320


def test_a_repair_is_heard_in_the_gap_alone_but_for_the_fades():
    case = gap_case(100, 1.0, sample_rate=1_000, hop_length=10)
    ones, zeros = np.ones((1, 1_000), np.float32), np.zeros((1, 1_000), np.float32)
    (joined,) = join(ones, zeros, case, fade=10)
    assert not joined[case.begin : case.end].any()
    assert (joined[: case.begin - 10] == 1).all() and (joined[case.end + 10 :] == 1).all()
    into, out = joined[case.begin - 10 : case.begin], joined[case.end : case.end + 10]
    np.testing.assert_allclose(into, 1 - (np.arange(10) + 0.5) / 10, rtol=1e-5)
    np.testing.assert_allclose(out, into[::-1], rtol=1e-5)


def test_no_repair_hears_what_was_in_the_gap(toy_model, toy_codec):
    case = gap_case(10, 0.1, toy_codec.sample_rate, toy_codec.hop_length)
    one_NxT = np.stack([music(0.1, seed) for seed in range(2)])
    other_NxT = one_NxT.copy()
    other_NxT[:, case.begin : case.end] = 0.5
    sampling = settle(toy_model.definition, seed=0, steps=4)
    one, other = (
        make_repairs(toy_model, toy_codec, audio_NxT, case, sampling=sampling)
        for audio_NxT in (one_NxT, other_NxT)
    )
    for name in ("silence", "linear prediction", "model"):
        np.testing.assert_array_equal(one[name], other[name])
        assert (one[name] != one_NxT)[:, case.begin : case.end].any()
    assert (one["codec"] != other["codec"]).any()
    fade = round(0.005 * toy_codec.sample_rate)
    for repaired_NxT in one.values():
        outside = np.r_[: case.begin - fade, case.end + fade : case.clip]
        np.testing.assert_array_equal(repaired_NxT[:, outside], one_NxT[:, outside])


def test_distances_are_of_the_original_and_need_a_whole_window():
    embedding = untrained_embedding("musicnn")
    case = gap_case(200, 3.2, sample_rate=16_000, hop_length=160)
    real_NxT = np.stack([music(3.2, seed)[: case.clip] for seed in range(3)])
    silent_NxT = join(real_NxT, np.zeros_like(real_NxT), case, fade=80)
    repairs = {"same": real_NxT, "silence": silent_NxT}
    found = measure(real_NxT, repairs, case, 16_000, embedding, ["a", "b", "c"])
    assert found["same"]["lsd_db"]["mean"] == 0
    assert found["same"]["embedding"]["mean"] == pytest.approx(0, abs=1e-6)
    assert found["silence"]["lsd_db"]["mean"] > 10
    assert found["silence"]["embedding"]["mean"] > 1e-5
    assert found["silence"]["lsd_db"]["num_artists"] == 3
    short = gap_case(200, 1.0, sample_rate=16_000, hop_length=160)
    few = {name: audio_NxT[:, : short.clip] for name, audio_NxT in repairs.items()}
    assert set(measure(few["same"], few, short, 16_000, embedding, ["a"] * 3)["same"]) == {"lsd_db"}


@pytest.fixture
def held_out(tmp_path, monkeypatch, toy_model, toy_codec):
    for artist in range(3):
        path = tmp_path / f"music/artist{artist}/song.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, music(0.3, artist), 24_000)
    soundfile.write(tmp_path / "music/short.wav", music(0.02, 9), 24_000)
    monkeypatch.setattr(job, "Model", SimpleNamespace(load=lambda *_, **__: toy_model))
    monkeypatch.setattr(job, "Codec", SimpleNamespace(load=lambda *_, **__: toy_codec))
    return tmp_path / "music"


def test_the_command_writes_figures_and_prints_a_table(held_out, tmp_path, capsys):
    output = tmp_path / "gaps.json"
    measure_gaps.main(
        ["--workdir=demo", f"--audio={held_out}", f"--output={output}", "--gaps_ms=5,10",
         "--clip_s=0.1", "--transitions=96", "--steps=2"]
    )  # fmt: skip
    report = json.loads(output.read_text())
    assert [case["name"] for case in report["cases"]] == ["5 ms", "10 ms", "96 tokens"]
    assert report["num_clips"] == 3 and "short.wav" in report["left_out"][0]
    first = report["cases"][0]
    assert first["unknown_tokens"] == 16 and first["gap_s"] == 0.005
    assert set(first["distances"]) == {"silence", "linear prediction", "model", "codec"}
    out = capsys.readouterr().out
    assert "| gap | distance | silence | linear prediction | model | codec |" in out
    assert "| 96 tokens | log-spectral, dB |" in out and "1 tracks were left out" in out


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--gaps_ms="], "there is nothing to measure"),
        (["--gaps_ms=600", "--clip_s=0.5"], "does not fit into its clip"),
        (["--gaps_ms=5", "--clip_s=0.05"], "clips of 1,200 samples are too short"),
        (["--gaps_ms=5", "--clip_s=1"], "longer than the 320 that the model"),
        (["--gaps_ms=", "--transitions=200"], "longer than the 320 that the model"),
        (["--gaps_ms=1,x"], "'x' is no number"),
    ],
)
def test_what_cannot_be_measured_is_refused(held_out, tmp_path, flags, text):
    given = ["--workdir=demo", f"--audio={held_out}", f"--output={tmp_path / 'x.json'}"]
    with pytest.raises(UserError, match=text):
        measure_gaps.main([*given, *flags])
    assert not (tmp_path / "x.json").exists()
