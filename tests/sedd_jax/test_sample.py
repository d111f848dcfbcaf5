"""The command that samples, in a process of its own."""

import signal
import sys

import numpy as np
import pytest

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
    flags = ("--num_samples=24", "--steps=2000", "--batch_size=2", "--seed=5")
    undisturbed = run(command(workdir, tmp_path / "whole", *flags))
    assert undisturbed.returncode == 0, undisturbed.stderr
    record = TokenDataset(tmp_path / "whole").read("generated", 3)
    assert record.source["seed"] == 5 and record.source["steps"] == 2000
    assert record.source["sampler"] == "euler" and record.source["checkpoint_step"] == 0

    output = tmp_path / "stopped"
    with start(command(workdir, output, *flags)) as program:
        wait_until(lambda: list(output.glob("part-*.npy")), [program])
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


def test_samples_longer_than_the_training_are_warned_of_in_one_line(workdir, tmp_path):
    longer = run(command(workdir, tmp_path / "new", "--num_samples=1", "--steps=1", "--length=24"))
    assert longer.returncode == 0, longer.stderr
    [line] = [line for line in longer.stderr.splitlines() if "warning" in line]
    assert line.startswith("warning: samples of 24 tokens are longer than the 16 ")


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
