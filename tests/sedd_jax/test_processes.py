"""Training, sampling and evaluating in several processes over gloo equal those in one."""

import json
import shutil
import signal
import sys

import numpy as np
import pytest

from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.model import checkpoint_dir
from tests.sedd_jax import gang
from tests.sedd_jax.toy import FAST_COMPILE, metrics, train_command, write_dataset
from tests.sedd_jax.toy_run import write_run
from tokenizer_bridge.token_dataset.records import TokenDataset

EVERY_STEP = {"training__log_every": 1, "model__dropout": 0.1}


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "tokens")


def train(tokens, workdir, num_processes, num_steps, **overrides):
    """Trains to its end; what process 0 said."""
    command = train_command(
        tokens, workdir, training__num_steps=num_steps, **EVERY_STEP, **overrides
    )
    results = gang.run(command, num_processes, XLA_FLAGS=FAST_COMPILE)
    for result in results:
        assert result.returncode == 0, result.stderr
    for text in ("parameters in", "from step", "compiling", "trained to"):
        assert text in results[0].stdout
        assert not [result.stdout for result in results[1:] if text in result.stdout]
    return results[0]


def test_from_1_to_4_to_2_processes_equals_one_undisturbed(tokens, tmp_path):
    whole, changing = tmp_path / "a" / "run", tmp_path / "b" / "run"
    for workdir in (whole, changing):
        workdir.parent.mkdir()
    train(tokens, whole, 1, 30)
    train(tokens, changing, 1, 10)
    drawing = {"evaluation__samples_every": 20, "sampling__steps": 2}
    said = train(tokens, changing, 4, 20, mesh__fsdp=2, **drawing)
    assert "on 8 cpu, mesh {'data': 4, 'fsdp': 2, 'tensor': 1}" in said.stdout
    assert "from step 10 to 20" in said.stdout and "step 20: samples in samples/20" in said.stdout
    assert said.stderr.count("no audio of samples: toy: no such codec") == 1
    assert TokenDataset(changing / "samples/20/tokens").num_records("generated") == 4
    train(tokens, changing, 2, 30, mesh__data=1, mesh__fsdp=2, mesh__tensor=2)

    losses, expected = [
        np.array([line["loss"] for line in metrics(workdir)]) for workdir in (changing, whole)
    ]
    assert len(losses) == 30
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def steps_of(workdir) -> list[int]:
    with Checkpoints(checkpoint_dir(workdir), read_only=True) as checkpoints:
        return checkpoints.steps


def test_sigterm_at_one_stops_all_and_a_damaged_checkpoint_is_passed_by_all(tokens, tmp_path):
    workdir = tmp_path / "run"
    endless = train_command(
        tokens, workdir, training__num_steps=100_000, checkpoint__every=20, **EVERY_STEP
    )
    processes = gang.start_until(
        lambda: list(checkpoint_dir(workdir).glob("[0-9]*0")), endless, 2, XLA_FLAGS=FAST_COMPILE
    )
    processes[1].send_signal(signal.SIGTERM)
    results = gang.finish(processes)
    assert [result.returncode for result in results] == [143, 143], results[0].stderr
    before, stopped = steps_of(workdir)
    assert f"stopped at step {stopped:,}" in results[0].stdout
    assert metrics(workdir)[-1]["step"] == stopped

    files = [p for p in (checkpoint_dir(workdir) / str(stopped)).rglob("*") if p.is_file()]
    largest = max(files, key=lambda path: path.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:-100])
    said = train(tokens, workdir, 2, stopped + 1)
    assert f"{stopped} is damaged" in said.stderr.replace("/train", "").replace("/ema_params", "")
    assert f"from step {before:,} to {stopped + 1:,}" in said.stdout
    assert (checkpoint_dir(workdir) / f"damaged-{stopped}").is_dir()


def test_samples_and_bounds_of_two_processes_are_those_of_one(tokens, tmp_path):
    write_run(tmp_path / "run", tokens)
    sample = [
        sys.executable, "-m", "sedd_jax.sample", f"--workdir={tmp_path / 'run'}", "--num_samples=6",
        "--batch_size=4", "--steps=16",
    ]  # fmt: skip
    evaluate = [sys.executable, "-m", "sedd_jax.evaluate", f"--workdir={tmp_path / 'run'}"]
    tokens_NxL, reports = [], []
    for num_processes in (1, 2):
        output = tmp_path / f"new-{num_processes}"
        results = gang.run([*sample, f"--output={output}"], num_processes, XLA_FLAGS=FAST_COMPILE)
        results += gang.run(evaluate, num_processes, XLA_FLAGS=FAST_COMPILE)
        for result in results:
            assert result.returncode == 0, result.stderr
        records = TokenDataset(output).records("generated")
        tokens_NxL.append(np.stack([record.tokens for record in records]))
        reports.append(json.loads((tmp_path / "run" / "evaluation_validation_0.json").read_text()))
        shutil.rmtree(output)
    np.testing.assert_array_equal(*tokens_NxL)
    one, two = [report["bits_per_token"]["model"]["mean"] for report in reports]
    assert two == pytest.approx(one, rel=1e-5)
