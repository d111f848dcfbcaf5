"""The command that evaluates, in a process of its own."""

import json
import shutil
import sys

import numpy as np
import pytest

from sedd_jax.conditions import VectorKind, Vocabulary
from sedd_jax.data import fingerprint
from sedd_jax.errors import UserError
from sedd_jax.jobs.evaluate import _is_same_data as is_same_data
from sedd_jax.jobs.evaluate import evaluate as measure
from sedd_jax.jobs.evaluate import table, write
from sedd_jax.likelihood import baselines
from tests.sedd_jax.toy import CODEC, NUM_CODES, error_line, run, write_dataset
from tests.sedd_jax.toy_run import write_run
from tokenizer_bridge.token_dataset.records import TokenDataset


def evaluate(workdir, *flags: str):
    return run([sys.executable, "-m", "sedd_jax.evaluate", f"--workdir={workdir}", *flags])


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("evaluate")
    lengths = {"train": [40, 100, 33, 77, 64, 90], "validation": [50, 70, 9]}
    artists = {"validation": ["one", None, "one"]}
    write_run(directory / "run", write_dataset(directory / "tokens", lengths, artists=artists))
    return directory / "run"


def test_report(workdir):
    result = evaluate(workdir)
    assert result.returncode == 0, result.stderr
    report = json.loads((workdir / "evaluation_validation_0.json").read_text())
    assert (report["num_tracks"], report["num_windows"], report["length"]) == (3, 10, 16)
    assert (report["num_tokens"], report["num_short_tracks"]) == (50 + 70 + 9, 1)
    tokens = TokenDataset(report["data_path"])
    assert report["data_fingerprint"] == {
        split: fingerprint(tokens, split) for split in ("train", "validation")
    }
    assert "1 of the tracks are shorter than a window" in result.stdout
    bits, above = report["bits_per_token"], report["above_model"]
    assert bits["model"]["mean"] > np.log2(NUM_CODES)  # a random network knows less than nothing
    assert bits["uniform"]["interval_95_by_artist"] == pytest.approx(2 * [np.log2(NUM_CODES)])
    low, high = above["bigram"]["interval_95_by_artist"]
    assert low < above["bigram"]["mean"] < high and above["bigram"]["num_artists"] == 2
    assert "half of the 95% interval, by artist (G = 2)" in result.stdout
    assert above["bigram"]["mean"] == pytest.approx(bits["bigram"]["mean"] - bits["model"]["mean"])
    assert set(report["model_bits_by_t"]) <= {f"{i / 10:.1f}-{(i + 1) / 10:.1f}" for i in range(10)}
    assert sum(report["model_bits_by_t"].values()) > 0
    for name in ("score model (bound)", "bigram", "unigram", "uniform"):
        assert name in result.stdout
    assert "told" not in result.stdout and set(above) == {"bigram", "unigram", "uniform"}

    dataset = TokenDataset(workdir.parent / "tokens")
    unigram, _ = baselines.fit([record.tokens for record in dataset.records("train")], NUM_CODES)
    tracks = [record.tokens for record in dataset.records("validation")]
    expected = unigram.bits(np.concatenate(tracks)[None]).mean()
    assert bits["unigram"]["mean"] == pytest.approx(expected)


def test_a_model_with_tags_is_told_the_own_ones_none_and_anothers(tmp_path):
    lengths = {"train": [40], "validation": [50, 70, 40, 30]}
    tags = {"validation": [("g---a",), ("g---b", "g---rare"), (), ("g---a", "g---b")]}
    dataset = write_dataset(tmp_path / "tokens", lengths, tags=tags)
    vocabulary = Vocabulary({"g---a": 1, "g---b": 1}, max_tags=1)
    write_run(tmp_path / "run", dataset, vocabulary=vocabulary)
    result = evaluate(tmp_path / "run")
    assert result.returncode == 0, result.stderr
    report = json.loads((tmp_path / "run" / "evaluation_validation_0.json").read_text())
    bits, above = report["bits_per_token"], report["above_model"]
    rows = {"model_without_tags": "- told no tags", "model_with_other_tags": "- told another's"}
    for name, row in rows.items():
        difference = bits[name]["mean"] - bits["model"]["mean"]
        assert abs(difference) > 1e-3  # a random network heeds its tags, in any direction
        assert above[name]["mean"] == pytest.approx(difference) and row in result.stdout
    low, high = above["model_without_tags"]["interval_95_by_artist"]  # paired: narrower than
    whole_low, whole_high = bits["model_without_tags"]["interval_95_by_artist"]  # its parts'
    assert high - low < 0.9 * (whole_high - whole_low)
    assert bits["model_without_tags"]["mean"] != bits["model_with_other_tags"]["mean"]


def test_a_code_that_the_model_does_not_know_is_left_out_and_said_once(tmp_path):
    dataset = write_dataset(tmp_path / "tokens")
    write_run(tmp_path / "run", dataset, graph__num_codes=NUM_CODES - 1)
    report = measure(tmp_path / "run", num_t=1)
    tracks = [record.tokens for record in TokenDataset(dataset).records("validation")]
    num_unknown = int((np.concatenate(tracks) == NUM_CODES - 1).sum())
    assert report["num_unknown_tokens"] == num_unknown > 0
    assert report["num_tokens"] == 50 + 70 - num_unknown
    uniform = report["bits_per_token"]["uniform"]["mean"]
    assert uniform == pytest.approx(np.log2(NUM_CODES - 1))
    said = table(report)
    assert f"\n{num_unknown} more tokens are codes that the model does not know" in said
    assert "all 117 tokens" not in said and said.count("does not know") == 1


def test_a_model_with_vectors_is_told_the_own_ones_none_and_anothers(tmp_path):
    lengths = {"train": [40], "validation": [50, 70]}
    vectors = [{"clip": np.float32(row)} for row in ([1, 0], [0, 1])]
    dataset = write_dataset(tmp_path / "tokens", lengths, vectors={"validation": vectors})
    vocabulary = Vocabulary(vectors={"clip": VectorKind(2)})
    write_run(tmp_path / "run", dataset, vocabulary=vocabulary)
    report = measure(tmp_path / "run", num_t=2)
    bits = report["bits_per_token"]
    for name in ("model_without_condition", "model_with_other_condition"):
        assert abs(bits[name]["mean"] - bits["model"]["mean"]) > 1e-3
    assert "- told nothing" in table(report)
    vectors = {"validation": [{"clip": np.ones(3)}] * 2}
    other = write_dataset(tmp_path / "other", lengths, vectors=vectors)
    with pytest.raises(UserError, match="have 3 numbers, the model's have 2"):
        measure(tmp_path / "run", tokens=other)


def test_each_data_set_has_a_file_of_its_own(workdir, tmp_path):
    own = TokenDataset(workdir.parent / "tokens")
    shutil.copytree(own.path, tmp_path / "moved")
    moved = TokenDataset(tmp_path / "moved")
    other = TokenDataset(write_dataset(tmp_path / "other", seed=1))

    def written(dataset: TokenDataset, path) -> str:
        prints = {split: fingerprint(dataset, split) for split in ("train", "validation")}
        report = {
            "split": "validation", "step": 7, "data_path": str(dataset.path),
            "data_fingerprint": prints, "is_training_data": is_same_data(dataset, str(path)),
        }  # fmt: skip
        return write(report, tmp_path / "out").name

    plain = "evaluation_validation_7"
    apart = f"{plain}_other-{fingerprint(other, 'validation')[:8]}.json"
    assert written(own, own.path) == written(moved, own.path) == f"{plain}.json"
    assert written(other, own.path) == written(other, "") == apart
    assert written(moved, "") == f"{plain}.json"
    assert written(other, tmp_path / "gone") == apart


def test_tokens_of_another_codec_are_refused(workdir, tmp_path):
    other = write_dataset(tmp_path / "other", codec=CODEC | {"weights_sha256": "1" * 64})
    line = error_line(evaluate(workdir, f"--tokens={other}"))
    assert "do not match codec 'toy'" in line and str(other) in line


def test_stretches_are_measured_given_their_context(workdir, tmp_path):
    result = evaluate(workdir, "--stretch_s=0.05,0.11", f"--output={tmp_path}", "--num_t=2")
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("*.json")
    short, long = json.loads(path.read_text())["stretches"]
    assert (short["seconds"], short["num_tokens"], long["num_tokens"]) == (0.05, 4, 8)
    assert short["num_windows"] == 3 + 4  # whole ones of the tracks of 50 and 70 tokens
    for stretch in (short, long):
        bits = {name: fields["mean"] for name, fields in stretch["bits_per_token"].items()}
        assert set(bits) == {"around", "before", "nothing"} and all(np.isfinite([*bits.values()]))
        for name, fields in stretch["saved"].items():
            assert fields["mean"] == pytest.approx(bits["nothing"] - bits[name])
            assert fields["mean"] != 0  # a network at random heeds its context, in any direction
    assert "0.11 s given what is" in result.stdout and "middle 8 of 7 windows" in result.stdout


@pytest.mark.parametrize(
    ("flag", "text"),
    [
        ("--stretch_s=0.001", "does not lie within a window of 16"),
        ("--stretch_s=1,0.25", "1 s, 75 tokens, does not lie within a window of 16"),
        ("--stretch_s=1,,2", "has an empty item"),
        ("--stretch_s=a", "'a' is no number"),
    ],
)
def test_stretches_that_cannot_be_are_refused(workdir, flag, text):
    assert text in error_line(evaluate(workdir, flag))
