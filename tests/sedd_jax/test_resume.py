"""A run killed three times computes, bit for bit, what an undisturbed run computes."""

import random
import signal
import subprocess
import time

import jax
import numpy as np
import pytest

from sedd_jax.checkpoint import Checkpoints
from sedd_jax.metrics import read_lines
from sedd_jax.run import build, checkpoint_dir
from tests.sedd_jax.toy import (
    CODEC,
    ROOT,
    environment,
    metrics,
    run,
    toy_config,
    train_command,
    write_dataset,
)

NUM_STEPS = 400
SIZE = {
    "training__num_steps": NUM_STEPS,
    "training__log_every": 10,
    "checkpoint__every": 40,
    "model__dropout": 0.1,
}


def last_logged_step(workdir) -> int:
    path = workdir / "metrics.jsonl"
    return 10 * path.read_text().count("\n") if path.exists() else 0


def kill_after(command, workdir, step) -> None:
    """Runs until `step` has been logged, and a random moment more; then SIGKILL."""
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        while last_logged_step(workdir) < step and process.poll() is None:
            time.sleep(0.002)
        time.sleep(random.uniform(0.0, 0.1))
        process.send_signal(signal.SIGKILL)
        error = process.stderr.read()
    assert process.returncode == -signal.SIGKILL, error.decode()


def final_state(workdir):
    toy_run = build(toy_config(**SIZE), CODEC)
    with Checkpoints(checkpoint_dir(workdir), read_only=True) as checkpoints:
        meta = checkpoints.read_meta(NUM_STEPS)
        return jax.device_get(checkpoints.restore(meta, toy_run.state_shapes()))


def test_killed_three_times_the_final_state_is_bit_equal(tmp_path):
    dataset = write_dataset(tmp_path / "tokens")
    undisturbed, killed = tmp_path / "a" / "run", tmp_path / "b" / "run"
    for workdir in (undisturbed, killed):
        workdir.parent.mkdir()
    result = run(train_command(dataset, undisturbed, **SIZE))
    assert result.returncode == 0, result.stderr

    command = train_command(dataset, killed, **SIZE)
    for low, high in [(0, 90), (110, 200), (220, 310)]:
        kill_after(command, killed, 10 * random.randint(low // 10, high // 10))
    result = run(command)
    assert result.returncode == 0, result.stderr
    assert "from step 0 " not in result.stdout

    expected = jax.tree_util.tree_leaves_with_path(final_state(undisturbed))
    for (path, a), b in zip(expected, jax.tree.leaves(final_state(killed)), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))

    # Every step is reported once, with the figures of the undisturbed run.
    lines, expected_lines = metrics(killed), metrics(undisturbed)
    assert [line["step"] for line in lines] == [line["step"] for line in expected_lines]
    assert [line["loss"] for line in lines] == [line["loss"] for line in expected_lines]

    # The account of time goes back to the first start, and no second is counted twice.
    account = lines[-1]
    kinds = {k: v for k, v in account.items() if k.startswith("wall_seconds/")}
    total = kinds.pop("wall_seconds/total")
    assert sum(kinds.values()) == pytest.approx(total, abs=0.1)
    assert 0 < account["goodput"] < 1 and kinds["wall_seconds/down"] > 0
    records = read_lines(killed / "goodput.jsonl")
    reported = next(record for record in records if record["step"] == NUM_STEPS)
    assert total == pytest.approx(reported["time"]["wall"] - records[0]["time"]["wall"], abs=0.5)
