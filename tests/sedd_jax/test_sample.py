"""The command that samples, in a process of its own."""

import shutil
import signal
import sys

import numpy as np
import pytest

from sedd_jax import sample
from sedd_jax.conditions import VectorKind, Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.jobs import sample as sample_job
from sedd_jax.sampling.tags import Steering
from tests.programs import wait_until
from tests.sedd_jax.toy import error_line, run, start, write_dataset
from tests.sedd_jax.toy_run import write_run
from tokenizer_bridge.token_dataset.records import TokenDataset


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    directory = tmp_path_factory.mktemp("sample")
    write_run(directory / "run", write_dataset(directory / "tokens"))
    return directory / "run"


def command(workdir, output, *flags: str) -> list[str]:
    line = [sys.executable, "-m", "sedd_jax.sample", f"--workdir={workdir}", f"--output={output}"]
    return [*line, *flags]


def tokens_of(path) -> np.ndarray:
    return np.stack([record.tokens for record in TokenDataset(path).records("generated")])


def test_interrupted_then_finished_equals_undisturbed(workdir, tmp_path):
    flags = ("--num_samples=24", "--sampler=euler", "--steps=2000", "--batch_size=2", "--seed=5")
    undisturbed = run(command(workdir, tmp_path / "whole", *flags))
    assert undisturbed.returncode == 0, undisturbed.stderr
    record = TokenDataset(tmp_path / "whole").read("generated", 3)
    assert record.source["seed"] == 5 and record.source["steps"] == 2000
    assert record.source["sampler"] == "euler" and record.source["checkpoint_step"] == 0

    output = tmp_path / "stopped"

    def some_are_drawn() -> bool:
        return any(output.glob("part-*.npy")) or (output / "dataset.json").exists()

    stopped = undisturbed
    while stopped.returncode == 0:  # also where it got through before it could be stopped
        shutil.rmtree(output, ignore_errors=True)
        with start(command(workdir, output, *flags)) as program:
            wait_until(some_are_drawn, [program])
            program.send_signal(signal.SIGINT)
            stopped = program.result()
    assert stopped.returncode == 130, stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert "the same command goes on" in stopped.stdout
    assert not (output / "dataset.json").exists()

    finished = run(command(workdir, output, *flags, "--batch_size=3"))
    assert finished.returncode == 0, finished.stderr
    assert "going on after" in finished.stdout
    np.testing.assert_array_equal(tokens_of(output), tokens_of(tmp_path / "whole"))


def test_scores_that_are_not_finite_are_one_line_and_nothing_is_written(tmp_path):
    """Under the uniform graph tokens are drawn all the same: nothing in them tells."""
    tokens = write_dataset(tmp_path / "tokens")
    write_run(tmp_path / "run", tokens, factor=np.nan, graph__type="uniform")
    output = tmp_path / "new"
    line = error_line(run(command(tmp_path / "run", output, "--num_samples=2", "--steps=4")))
    assert "not finite" in line and not output.exists()


def test_seconds_beyond_the_training_are_drawn_in_windows(workdir, tmp_path):
    flags = ("--num_samples=2", "--steps=2", "--top_k=3", "--temperature=0.9")
    longer = run(command(workdir, tmp_path / "new", *flags, "--seconds=0.5"))  # at 75 tokens/s
    assert longer.returncode == 0, longer.stderr
    tokens_NxL = tokens_of(tmp_path / "new")
    assert tokens_NxL.shape == (2, 38) and "warning" not in longer.stderr
    source = TokenDataset(tmp_path / "new").read("generated", 0).source
    assert (source["window"], source["overlap"]) == (16, 8)
    assert (source["top_k"], source["temperature"]) == (3, 0.9) and "top_p" not in source
    # These are other samples than those of other settings.
    other = run(command(workdir, tmp_path / "new", *flags[:3], "--seconds=0.5"))
    assert "holds other samples (temperature 0.9, not None)" in error_line(other)
    refused = run(command(workdir, tmp_path / "other", *flags, "--overlap=4"))
    assert "overlap is for samples longer than the 16 tokens" in error_line(refused)


def test_mistakes_are_one_line(workdir, tmp_path):
    line = error_line(run(command(tmp_path, tmp_path / "new", "--num_samples=1")))
    assert "holds no trained run" in line
    program = (
        "import sys, runpy, importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'torch' else found(name, *rest)\n"
        "runpy.run_module('sedd_jax.sample', run_name='__main__')"
    )
    without_torch = [sys.executable, "-c", program, *command(workdir, tmp_path / "new")[3:]]
    line = error_line(run([*without_torch, "--num_samples=1", f"--audio={tmp_path}"]))
    assert "--audio needs PyTorch" in line and not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    line = error_line(run(command(workdir, tmp_path / "file", "--num_samples=1")))
    assert f"cannot write to {tmp_path}" in line


VOCABULARY = Vocabulary({"genre---jig": 3, "genre---reel": 12, "instrument---flute": 5}, max_tags=2)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tags")
    write_run(directory / "run", write_dataset(directory / "tokens"), vocabulary=VOCABULARY)
    return directory / "run"


def test_tags_steer_and_stand_in_each_record(conditional, tmp_path):
    flags = ("--num_samples=3", "--steps=2", "--guidance=1.5", "--guidance_schedule=falling")
    tags = ("--tags=instrument---flute, genre---jig", "--avoid=genre---reel")
    made = run(command(conditional, tmp_path / "new", *flags, *tags))
    assert made.returncode == 0, made.stderr
    for record in TokenDataset(tmp_path / "new").records("generated"):
        assert record.tags == ("instrument---flute", "genre---jig")
        condition = record.source["condition"]
        assert condition["guidance"] == 1.5 and condition["guidance_schedule"] == "falling"
        assert condition["avoid"] == ["genre---reel"]
    again = run(command(conditional, tmp_path / "new", *flags, *tags))
    assert "already holds these samples" in again.stdout
    more = run(command(conditional, tmp_path / "new", "--num_samples=5", *flags[1:], *tags))
    assert (
        "going on after 3 finished samples" in more.stdout and len(tokens_of(tmp_path / "new")) == 5
    )
    line = error_line(run(command(conditional, tmp_path / "new", "--num_samples=5", *flags[1:2])))
    assert "holds other samples (condition" in line
    line = error_line(run(command(conditional, tmp_path / "x", *flags, "--tags=genre---reeel")))
    assert "no tag 'genre---reeel'; the nearest: genre---reel or " in line
    assert not (tmp_path / "x").exists()


def test_a_vector_steers_and_stands_in_each_record(tmp_path):
    vocabulary = Vocabulary(vectors={"clip": VectorKind(3)})
    write_run(tmp_path / "run", write_dataset(tmp_path / "tokens"), vocabulary=vocabulary)
    rows_NxW = np.float32([[1, 2, 3], [3, 2, 1]])
    np.save(tmp_path / "rows.npy", rows_NxW)
    np.save(tmp_path / "wide.npy", np.zeros(4))
    flags = ("--num_samples=2", "--steps=2", "--guidance=1.5")
    wanted = command(tmp_path / "run", tmp_path / "new", *flags)
    made = run([*wanted, f"--vector=clip:{tmp_path}/rows.npy"])
    assert made.returncode == 0, made.stderr
    for record, vector_W in zip(
        TokenDataset(tmp_path / "new").records("generated"), rows_NxW, strict=True
    ):
        np.testing.assert_array_equal(record.vectors["clip"], vector_W)
        assert set(record.source["condition"]["vectors_fingerprint"]) == {"clip"}

    def refused(*flags):
        given = [f"--workdir={tmp_path}/run", f"--output={tmp_path}/x", "--num_samples=2"]
        with pytest.raises(UserError) as caught:
            sample.main([*given, *flags])
        assert not (tmp_path / "x").exists()
        return str(caught.value)

    wide, absent = tmp_path / "wide.npy", tmp_path / "absent.npy"
    assert f"{wide}: 'clip' is float32 of shape (4,)" in refused(f"--vector=clip:{wide}")
    assert f"{absent}: No such file" in refused(f"--vector=clip:{absent}")
    assert "no vectors 'clap', only clip" in refused(f"--vector=clap:{tmp_path}/rows.npy")
    assert "knows no tags" in refused("--tags=genre---jig", f"--vector=clip:{tmp_path}/rows.npy")


def test_tags_are_listed(conditional, capsys):
    sample.main([f"--workdir={conditional}", "--list_tags"])
    assert capsys.readouterr().out.split() == (
        "tag tracks genre---reel 12 genre---jig 3 instrument---flute 5".split()
    )


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--guidance=2"], "guidance needs tags: tags, tags_file, tags_from or avoid; or vectors"),
        (["--vector=clip"], "--vector: 'clip' must be KIND:FILE"),
        (["--vector=clip:a", "--vector=clip:b"], "--vector: each kind can be given once"),
        (["--avoid=genre---jig"], "avoid needs guidance above 1"),
        (["--tags=genre---jig", "--tags_file=f"], "tags and tags_file: one of them says"),
        (["--tags=genre---jig,"], "--tags: 'genre---jig,' has an empty item"),
        (["--tags="], "--tags: '' has an empty item"),
        (["--guidance=-1"], "--guidance: -1 must be at least 0"),
        (["--guidance_schedule=sinking"], "--guidance_schedule: invalid choice"),
        (["--tags=genre---jig", "--guidance_schedule=rising"], "at 1 nothing rises or falls"),
    ],
)
def test_wishes_that_do_not_go_together_are_refused(flags, text, tmp_path):
    """Before the run is read: there is none."""
    given = [f"--workdir={tmp_path}/run", f"--output={tmp_path}/new", "--num_samples=2"]
    with pytest.raises(UserError, match=text):
        sample.main([*given, *flags])
    assert not list(tmp_path.iterdir())


def test_tags_are_refused_by_a_model_without(workdir, tmp_path):
    new = tmp_path / "new"
    line = error_line(run(command(workdir, new, "--num_samples=2", "--tags=genre---jig")))
    assert "knows no tags: it was trained without" in line and not new.exists()
    with pytest.raises(UserError, match="knows no vectors: it was trained without"):
        sample_job.sample(workdir, new, 2, steering=Steering(vectors={"clip": "x.npy"}))
    with pytest.raises(UserError, match="knows no tags: it was trained without"):
        sample.main([f"--workdir={workdir}", "--list_tags"])
