"""What the commands do with an autoregressive run: measured, a baseline, a judge; else refused."""

import json

import numpy as np
import pytest

from sedd_jax import Model
from sedd_jax import evaluate as command
from sedd_jax.errors import UserError
from sedd_jax.jobs import evaluate as evaluate_job
from sedd_jax.jobs.evaluate import evaluate, table
from sedd_jax.likelihood.exact import token_nats
from sedd_jax.weights import exported
from sedd_jax.weights.exporting import export
from tests.sedd_jax.toy import CODEC, NUM_CODES, write_dataset
from tests.sedd_jax.toy_run import write_run
from tokenizer_bridge.token_dataset.records import TokenDataset

LENGTHS = {"train": [40, 100, 33], "validation": [50, 70, 9]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """tokens, a run of diffusion, and autoregressive ones of the same and of another length."""
    folder = tmp_path_factory.mktemp("autoregressive")
    tokens = write_dataset(folder / "tokens", LENGTHS)
    write_run(folder / "run", tokens)
    write_run(folder / "ar", tokens, model__type="autoregressive")
    write_run(folder / "ar_20", tokens, model__type="autoregressive", model__length=20)
    return folder


def own_bits(workdir) -> float:
    """Bits per token of the validation split, track by track, without the windows of `evaluate`."""
    model = Model.load(workdir)
    tracks = [r.tokens for r in TokenDataset(workdir.parent / "tokens").records("validation")]
    length, nats = model.length, 0.0
    before = np.concatenate(tracks)
    for track in tracks:
        for start in range(0, len(track), length):
            end = min(start + length, len(track))
            context = np.concatenate([before, track[:end]]) if len(track) < length else track[:end]
            window_L = context[-length:] if end > length or len(track) < length else track[:length]
            costs = token_nats(model.definition, model.params, window_L[None], batch_size=1)
            nats += costs[0, length - (end - start) :].sum()
        before = np.concatenate([before, track])
    return nats / np.log(2) / sum(map(len, tracks))


def test_its_bits_are_exact_and_it_stands_beside_another_run(folder):
    alone = evaluate(folder / "ar")
    bits = alone["bits_per_token"]["model"]["mean"]
    assert bits == pytest.approx(own_bits(folder / "ar"), rel=1e-6)
    assert alone["num_t"] is None and alone["model_bits_by_t"] == {}
    assert "autoregressive (exact)" in table(alone) and "bound" not in table(alone)

    report = evaluate(folder / "run", num_t=1, autoregressive=folder / "ar")
    beside = report["bits_per_token"]["autoregressive"]
    assert beside == alone["bits_per_token"]["model"]
    above = report["above_model"]["autoregressive"]
    difference = beside["mean"] - report["bits_per_token"]["model"]["mean"]
    assert above["mean"] == pytest.approx(difference) and above["interval_95_by_artist"]
    assert report["baselines"]["autoregressive"]["length"] == 16
    said = table(report)
    assert "score model (bound)" in said and "autoregressive (exact)" in said

    longer = evaluate(folder / "run", num_t=1, autoregressive=folder / "ar_20")
    found = longer["bits_per_token"]["autoregressive"]
    assert found["mean"] == pytest.approx(own_bits(folder / "ar_20"), rel=1e-6)
    assert longer["num_tokens"] == report["num_tokens"]


def test_it_judges_pieces_beside_real_ones(folder, capsys):
    pieces = write_dataset(folder / "pieces", {"generated": [30] * 5}, seed=5)
    command.main([f"--workdir={folder / 'ar'}", f"--tokens={pieces}", "--judge"])
    said = capsys.readouterr().out
    (path,) = (folder / "ar").glob("judgement_0_pieces-*.json")
    report = json.loads(path.read_text())
    assert str(path) in said and "bits/token" in said
    assert (report["pieces"]["num_pieces"], report["pieces"]["num_tokens"]) == (5, 150)
    # Of tracks of 50 and 70 tokens: no token is counted twice.
    assert (report["real"]["num_pieces"], report["length"]) == (3, 30)
    estimate = Model.load(folder / "ar").bits_per_token(
        np.stack([r.tokens[:16] for r in TokenDataset(pieces).records("generated")])
    )
    assert 0.5 < report["pieces"]["bits_per_token"]["mean"] / estimate.mean < 2

    tokens = write_dataset(folder / "long", {"generated": [80]})
    command.main([f"--workdir={folder / 'ar'}", f"--tokens={tokens}", "--judge"])
    said = capsys.readouterr().out
    assert "no figures of real music beside: no track of split 'validation' is as long" in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--workdir=ar", "--num_t=3"], "a number of noise levels needs a diffusion model"),
        (["--workdir=ar", "--stretch_s=0.1"], "what stands around it needs a diffusion model"),
        (["--workdir=ar", "--judge"], "--judge needs --tokens"),
        (["--workdir=ar", "--tokens=tokens", "--judge", "--num_t=3"], "--num_t does not go with"),
        (["--workdir=run", "--tokens=tokens", "--judge"], "run holds a diffusion model"),
        (["--workdir=run", "--autoregressive=run"], "run holds a diffusion model"),
        (["--workdir=ar", "--tokens=other", "--judge"], "codec"),
    ],
)
def test_bad_options_are_refused_in_one_line(folder, monkeypatch, flags, message):
    monkeypatch.chdir(folder)
    if not (folder / "other").exists():
        codec = CODEC | {"name": "another", "codebook_size": 2 * NUM_CODES}
        write_dataset(folder / "other", {"generated": [30]}, codec=codec)
    with pytest.raises(UserError, match=message) as caught:
        command.main(flags)
    assert "\n" not in str(caught.value)


def test_what_needs_noise_is_refused_in_one_line(folder):
    model = Model.load(folder / "ar")
    tokens_L = np.zeros(16, int)
    for attempt in (
        lambda: model.log_score(tokens_L, 0.5),
        lambda: model.bits_per_token(tokens_L, is_known=np.arange(16) < 8),
    ):
        with pytest.raises(UserError, match="needs a diffusion model, and this one is autoreg"):
            attempt()


def test_an_export_of_it_is_the_run(folder, tmp_path):
    evaluate_job.write(evaluate(folder / "ar"), folder / "ar")
    out = tmp_path / "out"
    export(str(folder / "ar"), str(out))
    assert not (out / exported.PUBLISHED_CONFIG).exists()  # for programs of diffusion models
    card = (out / exported.CARD).read_text()
    assert "An autoregressive model" in card and "the model's exact: model" in card
    assert "diffusion model" not in card and "loglinear" not in card
    run, again = Model.load(folder / "ar"), Model.load(out)
    assert again.definition.is_autoregressive
    np.testing.assert_array_equal(again.sample(2, seed=1), run.sample(2, seed=1))
    tokens_NxL = np.arange(32).reshape(2, 16)
    assert again.bits_per_token(tokens_NxL) == run.bits_per_token(tokens_NxL)
    report = evaluate(folder / "run", num_t=1, autoregressive=out)
    assert report["baselines"]["autoregressive"]["workdir"] == str(out)
