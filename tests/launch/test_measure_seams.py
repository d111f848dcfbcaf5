"""The cost of a seam on a chain whose scores are known; and the command on toys."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from launch import measure_seams
from launch.jobs import measure_seams as job
from sedd_jax import Model
from sedd_jax.model import build
from tests.sedd_jax import chain
from tests.sedd_jax.toy import toy_config
from tests.sedd_jax.toy_run import make_run, random_params
from tokenizer_bridge import Codec
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter
from tokenizer_bridge.wavtokenizer.registry import load_codec


def test_a_seam_that_is_none_costs_as_much_as_any_place_and_a_real_one_more():
    run, params = make_run(graph__num_codes=4, sampling__batch_size=400)
    model, pieces_NxT = Model(chain.Chain.of(run), params, 0), chain.draw(100, 64)
    found = job.seam_bits(model, pieces_NxT, [()] * 100, 16, 8, stretch=2, num_levels=8)
    assert found["num_stretches"] == 5 * 100  # at 16, 24, 32, 40 and 48
    low, high = found["more_than_midway"]["across"]["interval_95_by_artist"]
    assert low < 0 < high
    assert found["more_than_midway"]["another piece behind"]["interval_95_by_artist"][0] > 0.2
    broken_NxT = pieces_NxT.copy()  # at every seam, and not midway
    for number, start in enumerate(range(16, 64, 8)):
        broken_NxT[:, start : start + 8] = chain.draw(100, 8, seed=1 + number)
    found = job.seam_bits(model, broken_NxT, [()] * 100, 16, 8, stretch=2, num_levels=8)
    assert found["more_than_midway"]["across"]["interval_95_by_artist"][0] > 0.2


def test_the_entropy_of_pitch_classes_tells_a_note_from_noise():
    time_S = np.arange(48_000) / 16_000
    note_S, octave_S, fifth_S = (np.sin(2 * np.pi * hertz * time_S) for hertz in (220, 440, 330))
    noise_S = np.random.default_rng(0).standard_normal(len(time_S))
    note, octaves, two, noise = (
        job.pitch_class_bits(audio_S, 16_000)
        for audio_S in (note_S, note_S + octave_S, note_S + fifth_S, noise_S)
    )
    assert note < 0.1 and octaves < 0.1 and abs(two - 1) < 0.1 and abs(noise - np.log2(12)) < 0.05


@pytest.fixture
def toys(codec_dir, monkeypatch, tmp_path):
    """Writes pieces of four, or as many as are asked for; their folder."""
    codec = Codec(*load_codec("toy", codec_dir=codec_dir))
    definition = build(toy_config(model__length=320), vars(codec.info))
    model = Model(definition, random_params(definition), 7)
    monkeypatch.setattr(job, "Model", SimpleNamespace(load=lambda *_, **__: model))
    monkeypatch.setattr(job, "Codec", SimpleNamespace(load=lambda *_, **__: codec))

    def write(num=4, seconds=6.3, window=320):
        length, rng = round(seconds * codec.token_rate), np.random.default_rng(0)
        origin = {"window": window, "overlap": window and 0}
        with TokenDatasetWriter(tmp_path / "pieces", vars(codec.info), origin) as writer:
            for i in range(num):
                tokens_T = rng.integers(0, codec.codebook_size, length).astype(np.uint16)
                writer.write("generated", Record(f"{i}", tokens_T, seconds))
        return tmp_path / "pieces"

    return write


def arguments(pieces, output, *flags):
    return [f"--tokens={pieces}", "--workdir=demo", f"--output={output}", "--num_levels=1", *flags]


def test_the_command_writes_figures_and_says_them(toys, tmp_path, capsys):
    output = tmp_path / "seams.json"
    measure_seams.main(arguments(toys(), output, "--stretch=8", "--ends_s=3.1"))
    report = json.loads(output.read_text())
    assert report["step"] == 7 and report["num_pieces"] == 4 and report["stretch"] == 8
    assert set(report["bits_per_token"]["of"]) == set(job.PLACES)
    assert set(report["end_less_beginning"]) == {"loudness_db", "pitch_class_bits", "kad_musicnn"}
    out = capsys.readouterr().out
    assert "4 pieces, " in out and "another piece behind" in out and "KAD, musicnn" in out


@pytest.mark.parametrize(
    ("pieces", "flags", "text"),
    [
        (dict(window=None), [], "they have no seams"),
        (dict(num=3), [], "holds 3 pieces: 4 are needed"),
        ({}, ["--stretch=161"], "more than half of a window, 320"),
        ({}, ["--ends_s=3.2"], "too short for two ends of 3.2 s"),
    ],
)
def test_what_cannot_be_measured_is_refused(toys, tmp_path, pieces, flags, text):
    given = arguments(toys(**pieces), tmp_path / "x.json", "--stretch=8", "--ends_s=3.1", *flags)
    with pytest.raises(UserError, match=text):
        measure_seams.main(given)
    assert not (tmp_path / "x.json").exists()
