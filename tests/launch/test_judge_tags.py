"""The command that draws and judges: what it asks for, of whom, in which order."""

import csv
from collections import Counter

import pytest

from launch import judge_tags, measure_edits, measure_gaps, measure_seams
from launch.jobs import judge_tags as job
from sedd_jax.conditions import Vocabulary
from tests.sedd_jax import toy_run
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset

VOCABULARY = Vocabulary({"key---A": 9, "key---B": 9, "mode---minor": 3, "mode---a, b": 9}, 2)
HELD_OUT = [("key---A", "mode---a, b")] * 6 + [
    ("key---A", "mode---minor", "unknown---x"),
    ("key---B", "mode---a, b"),
    (),
]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    lengths = {"train": [40, 50], "validation": [40] * len(HELD_OUT)}
    path = tmp_path_factory.mktemp("judge") / "tokens"
    return write_dataset(path, lengths, tags={"validation": HELD_OUT, "train": [("key---A",)] * 2})


@pytest.fixture(scope="module")
def workdir(tokens):
    toy_run.write_run(tokens.parent / "run", tokens, vocabulary=VOCABULARY)
    return tokens.parent / "run"


@pytest.fixture
def started(monkeypatch):
    """The command lines that are started; the exit code of each, 0 if none is set."""
    lines, codes = [], {}

    def run(module, *flags):
        lines.append((module, *flags))
        return codes.get(len(lines), 0)

    monkeypatch.setattr(job, "run", run)
    return lines, codes


def test_tracks_are_chosen_so_that_all_tags_occur(tokens):
    chosen = job.of_tracks(TokenDataset(tokens), VOCABULARY, 4)
    counts = Counter(tag for tags in chosen for tag in tags)
    # The six that are alike do not crowd out the two that have the rare tags.
    assert counts["key---B"] == 1 and counts["mode---minor"] == 1
    assert "unknown---x" not in counts and () not in chosen
    # Once all eight have been taken, they come again.
    twice = job.of_tracks(TokenDataset(tokens), VOCABULARY, 16)
    assert Counter(twice[:8]) == Counter(twice[8:])


def test_single_tags_come_equally_often():
    told = job.of_tags(VOCABULARY, 8, None)
    assert Counter(told) == {(tag,): 2 for tag in VOCABULARY.tracks}
    assert {*job.of_tags(VOCABULARY, 8, ["key"])} == {("key---A",), ("key---B",)}
    with pytest.raises(UserError, match="no category 'tempo', only key, mode"):
        job.of_tags(VOCABULARY, 8, ["tempo"])


def test_the_step_may_be_the_best_where_one_was_measured(tokens, workdir, tmp_path, started):
    given = [f"--workdir={workdir}", f"--tokens={tokens}", f"--output={tmp_path}", "--step=best"]
    with pytest.raises(UserError, match="no checkpoint whose validation was measured"):
        judge_tags.main(given)


@pytest.mark.parametrize("command", [judge_tags, measure_edits, measure_gaps, measure_seams])
def test_a_measured_model_may_be_in_a_bucket(command):
    action = {action.dest: action for action in command.make_parser()._actions}["workdir"]
    assert action.type("gs://bucket/run") == "gs://bucket/run"


def test_every_strength_is_sampled_and_then_all_are_judged(tokens, workdir, tmp_path, started):
    code = judge_tags.main([
        f"--workdir={workdir}", f"--tokens={tokens}", f"--output={tmp_path}", "--num_samples=5",
        "--guidance=2,0,1", "--guidance_schedule=constant,rising", "--length=12",
        "--sampler=euler", "--steps=7",
    ])  # fmt: skip
    assert code == 0
    *samples, judged = started[0]
    folders = [line[-1] for line in samples]
    assert folders == [f"--output={tmp_path / name}" for name in (
        "guidance-0", "guidance-1-constant", "guidance-2-constant", "guidance-2-rising"
    )]  # fmt: skip
    assert all(line[0] == "sedd_jax.sample" and "--step=0" in line for line in samples)
    assert all({"--sampler=euler", "--steps=7"} <= {*line} for line in samples)
    # Nothing is told at 0.
    assert not any("tags" in flag or "guidance=" in flag for flag in samples[0])
    assert {"--guidance=2", "--guidance_schedule=rising"} <= {*samples[3]}
    assert f"--tags_file={tmp_path / 'asked.txt'}" in samples[3]
    assert judged[0] == "tokenizer_bridge.judge_tags"
    assert [flag.removeprefix("--samples=") for flag in judged if "--samples=" in flag] == [
        folder.removeprefix("--output=") for folder in folders
    ]
    with open(tmp_path / "asked.txt") as file:
        asked = [tuple(row) for row in csv.reader(file)]
    assert len(asked) == 5 and ("key---A", "mode---a, b") in asked


def test_an_autoregressive_model_takes_no_steps(tokens, tmp_path, started):
    options = {"vocabulary": VOCABULARY, "model__type": "autoregressive"}
    toy_run.write_run(tmp_path / "run", tokens, **options)
    flags = [f"--workdir={tmp_path / 'run'}", f"--tokens={tokens}", f"--output={tmp_path}"]
    assert judge_tags.main([*flags, "--guidance=2"]) == 0
    assert "--guidance=2" in started[0][0] and "steps" not in " ".join(started[0][0])


def test_a_stopped_part_stops_the_whole(tokens, workdir, tmp_path, started):
    started[1][2] = 143
    code = judge_tags.main(
        [f"--workdir={workdir}", f"--tokens={tokens}", f"--output={tmp_path}", "--guidance=0,1,2"]
    )
    assert code == 143 and len(started[0]) == 2


@pytest.mark.parametrize(("flags", "message"), [
    (["--guidance=1,-1"], "guidance"),
    (["--guidance=1,x"], "'x' is no number"),
    (["--guidance_schedule=constant,up"], "'up' is none of constant, rising, falling"),
    (["--guidance=0,1", "--guidance_schedule=rising"], "nothing rises or falls at 0 and 1"),
    (["--asked=keys"], "asked"),
])  # fmt: skip
def test_mistakes_in_flags(tmp_path, flags, message):
    required = ["--workdir=RUN", "--tokens=TOKENS", f"--output={tmp_path}"]
    with pytest.raises(UserError, match=message):
        judge_tags.main([*required, *flags])


def test_other_pieces_are_not_mixed_in(tokens, workdir, tmp_path, started):
    flags = [f"--workdir={workdir}", f"--tokens={tokens}", f"--output={tmp_path}"]
    judge_tags.main([*flags, "--num_samples=3"])
    with pytest.raises(UserError, match="asks for other pieces"):
        judge_tags.main([*flags, "--num_samples=4"])


def test_a_category_of_no_told_tag_is_refused_before_anything_is_drawn(
    tokens, workdir, tmp_path, started
):
    flags = [f"--workdir={workdir}", f"--tokens={tokens}", f"--output={tmp_path / 'out'}"]
    with pytest.raises(UserError, match="category mod: pieces are told tags of key, mode alone"):
        judge_tags.main([*flags, "--categories=key,mod"])
    assert not started[0] and not list((tmp_path / "out").iterdir())


def test_a_model_without_tags_is_refused(tokens, tmp_path, started):
    toy_run.write_run(tmp_path / "run", tokens)
    flags = [f"--workdir={tmp_path / 'run'}", f"--tokens={tokens}", f"--output={tmp_path}"]
    with pytest.raises(UserError, match="knows no tags"):
        judge_tags.main(flags)
    assert not started[0]
