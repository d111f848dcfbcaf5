"""The door of sweeps: what it refuses, runs, repeats and resumes, with real trainings."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from launch.sweeping.runs import plan, read_sweep
from launch.sweeping.training import Training
from sedd_jax.errors import UserError
from tests.sedd_jax.toy import (
    ROOT,
    environment,
    error_line,
    metrics,
    run,
    toy_config,
    write_dataset,
)
from tests.sedd_jax.toy_run import write_run
from tokenizer_bridge.records import TokenDataset

SWEEP_FILE = """
from configs.sweeps.grid import product, zip_
from tests.sedd_jax.toy import toy_config


def get_config():
    return toy_config(evaluation__every=10, training__num_steps={num_steps})


def sweep():
    return {overrides}
"""


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "tokens")


def write_sweep(directory: Path, overrides: str, num_steps: int = 10) -> Path:
    path = directory / "toy_sweep.py"
    path.write_text(SWEEP_FILE.format(overrides=overrides, num_steps=num_steps))
    return path


def command(file: Path | str, workdir: Path, tokens: Path, *flags: str) -> list[str]:
    door = [sys.executable, "-m", "launch.sweep", f"--config={file}", f"--workdir={workdir}"]
    return [*door, f"--config.data.path={tokens}", *flags]


def results(workdir: Path) -> list[dict[str, str]]:
    with open(workdir / "results.csv", newline="") as file:
        return list(csv.DictReader(file))


# ---- what is refused before anything starts


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ('product({"optim.learning_rate": [0.1], "optim.lr": [1]})', "unknown config key optim.lr"),
        ('zip_({"training.batch_size": [8, "many"]})', "training.batch_size cannot be 'many'"),
        ('zip_({"graph.type": ["absorbing", "loose"]})', "config.graph.type is 'loose'"),
        ('zip_({"seed": [1, 1]})', "yields seed=1 twice"),
        ('zip_({"data.path": ["elsewhere"]})', "it cannot be set for all runs"),
        ('zip_({"model.length": [16, 512]})', "the longest has 100"),
        ('product({"seed": [1]}, {"seed": [2]})', "two parts of a product set seed"),
        ("[]", "must yield dicts of overrides"),
    ],
)
def test_a_bad_sweep_is_refused_as_a_whole_in_one_line(tokens, tmp_path, overrides, message):
    door = Training("toy_sweep.py", {"data.path": str(tokens)})
    with pytest.raises(UserError) as caught:
        sweep = read_sweep(str(write_sweep(tmp_path, overrides)))
        runs = plan(toy_config(data__path=str(tokens)), door.shared, sweep, door, tmp_path)
        door.check_inputs(runs)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_the_door_refuses_in_one_line_and_leaves_nothing(tokens, tmp_path):
    workdir = tmp_path / "sweep"
    file = write_sweep(tmp_path, 'zip_({"optim.warmup_steps": [5, -5]})')
    line = error_line(run(command(file, workdir, tokens)))
    assert "run 2 of 2 {'optim.warmup_steps': -5}: config.optim.warmup_steps is -5" in line
    assert not workdir.exists()


def test_a_file_without_a_sweep_is_refused():
    with pytest.raises(UserError, match="configs/demo.py defines no sweep()"):
        read_sweep("configs/demo.py")


# ---- runs


def test_two_runs_and_one_that_fails(tokens, tmp_path):
    """One blows up: the others finish, it is reported, and only it is tried again."""
    workdir = tmp_path / "sweep"
    overrides = (
        'zip_({"optim.learning_rate": [1e30, 1e-2, 1e-3], '
        '"optim.warmup_steps": [0, 5, 5], "training.max_consecutive_skips": [3, 50, 50]})'
    )
    sweep = command(write_sweep(tmp_path, overrides), workdir, tokens)
    bad, good, slow = (
        f"optim.learning_rate={lr},optim.warmup_steps={w},training.max_consecutive_skips={s}"
        for lr, w, s in [("1e+30", 0, 3), ("0.01", 5, 50), ("0.001", 5, 50)]
    )

    listed = run([*sweep, "--dry_run"])
    assert listed.returncode == 0, listed.stderr
    assert "3 of 3 runs of sedd_jax.train to do" in listed.stdout
    assert f"{good}: not started" in listed.stdout
    assert "--config.optim.learning_rate=0.01 " in listed.stdout
    assert not workdir.exists()

    done = run([*sweep, "--jobs=2"])
    assert done.returncode == 1, done.stderr
    assert "not finite for 3 steps in a row" in done.stdout
    assert str(workdir / bad / "sweep.log") in done.stdout
    rows = {row["run"]: row for row in results(workdir)}
    assert {name: row["state"] for name, row in rows.items()} == {
        bad: "failed, step 3 of 10", good: "finished", slow: "finished",
    }  # fmt: skip
    for name in (good, slow):
        value = metrics(workdir / name)[-1]["validation_bits_per_token"]
        assert float(rows[name]["validation_bits_per_token"]) == value
        assert f"{value:.5g}" in done.stdout
    assert (workdir / "validation_bits_per_token.png").read_bytes().startswith(b"\x89PNG")

    logs = [(workdir / name / "sweep.log").read_bytes() for name in (good, slow)]
    again = run(sweep)
    assert again.returncode == 1, again.stderr
    assert "1 of 3 runs of sedd_jax.train to do" in again.stdout
    assert [(workdir / name / "sweep.log").read_bytes() for name in (good, slow)] == logs

    line = error_line(run([*sweep, "--config.model.width=32"]))
    assert "was trained with config.model.width=16, not 32" in line


def test_a_sweep_told_to_stop_lets_its_runs_save_and_goes_on(tokens, tmp_path):
    workdir = tmp_path / "sweep"
    long = command(write_sweep(tmp_path, 'zip_({"seed": [0, 1]})', 100_000), workdir, tokens)
    first = workdir / "seed=0"
    with subprocess.Popen(
        long, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        while not (first / "metrics.jsonl").exists() or not metrics(first):
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output = process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command goes on" in output
    [stopped] = [
        int(path.name) for path in (first / "checkpoints").iterdir() if path.name.isdigit()
    ]
    assert not (workdir / "seed=1").exists()

    short = command(
        write_sweep(tmp_path, 'zip_({"seed": [0, 1]})', stopped + 1), workdir, tokens, "--jobs=2"
    )
    done = run(short)
    assert done.returncode == 0, done.stdout
    assert f"from step {stopped:,} to {stopped + 1:,}" in (first / "sweep.log").read_text()
    assert [row["state"] for row in results(workdir)] == ["finished", "finished"]


def test_a_run_is_not_started_twice_at_the_same_time(tokens, tmp_path):
    workdir = tmp_path / "sweep"
    sweep = command(write_sweep(tmp_path, 'zip_({"seed": [0]})', 100_000), workdir, tokens)
    log = workdir / "seed=0" / "sweep.log"
    with subprocess.Popen(
        sweep, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not log.exists() or "compiling" not in log.read_text():
            time.sleep(0.01)
        process.kill()  # its run goes on without it
    second = run(sweep)
    assert second.returncode == 1
    assert "seed=0: another process is running it" in second.stdout
    assert log.read_text().count("-m sedd_jax.train") == 1
    pid = int(subprocess.check_output(["fuser", str(log)], stderr=subprocess.DEVNULL).split()[0])
    os.kill(pid, signal.SIGTERM)


# ---- sampling


def test_samplers_on_one_checkpoint(tokens, tmp_path):
    write_run(tmp_path / "run", tokens)
    file = tmp_path / "samplers.py"
    file.write_text(
        "from configs.sweeps.grid import product\n"
        "from configs.sweeps.sampler_steps import get_config\n"
        'DOOR = "sample"\n'
        'def sweep(size):\n    return product(sampler=["euler", "analytic"], steps=[2])\n'
    )
    workdir = tmp_path / "sweep"
    door = [sys.executable, "-m", "launch.sweep", f"--config={file}:tiny", f"--workdir={workdir}"]
    assert "config.run is empty" in error_line(run(door))
    door += [f"--config.run={tmp_path / 'run'}"]
    done = run([*door, "--jobs=2"])
    assert done.returncode == 0, done.stdout
    for row, sampler in zip(results(workdir), ("euler", "analytic"), strict=True):
        assert row["sampler"] == sampler and row["state"] == "finished"
        samples = TokenDataset(workdir / row["run"] / "samples")
        assert samples.origin["sampler"] == sampler and samples.origin["steps"] == 2
        assert float(row["seconds_per_sample"]) > 0
        assert 0 < float(row["entropy_bits"]) <= 5 and 1 <= int(row["distinct_codes"]) <= 32
        assert float(row["bigram_bits_per_token"]) > 0
    assert "0 of 2 runs" in run(door).stdout
    line = error_line(run([*door, "--config.num_samples=5"]))
    assert "holds samples of config.num_samples=4, not 5" in line
