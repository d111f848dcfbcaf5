"""What the SLURM launchers do inside a job, with stand-ins for SLURM's commands."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
NOTE = '#!/usr/bin/env bash\necho "${0##*/} $*" >> "$NOTES"\n'
COMMANDS = {
    # The plan is the processes of the step, which scancel reaches; srun itself is to be let alone.
    "srun": """bash -c 'echo $$ > "$NOTES.pid"; eval "$PLAN"' & wait $!""",
    "scancel": 'kill -TERM "$(cat "$NOTES.pid")"',
    "squeue": 'echo "$STATE"',
    "scontrol": "",
    "sleep": "",  # until SLURM ends the script after a requeue
}
TRAIN = ["launch/slurm_train.sh", "job", "--config=configs/music_small.py", "--max_restarts=3"]
TRAIN += ["--tokens=/bucket/tokens", "--workdir=/bucket/first"]
ENCODE = ["launch/slurm_encode.sh", "job", "--num_shards=4", "--audio=/a b", "--output=/c d"]
ENCODE += ["--codec=demo"]


@pytest.fixture
def job(tmp_path: Path):
    """Starts a launcher's job part; PLAN is the shell code of its srun."""
    for name, does in COMMANDS.items():
        (tmp_path / name).write_text(NOTE + does + "\n")
        (tmp_path / name).chmod(0o755)
    started = []

    def start(command: list[str], plan: str, **env: str) -> subprocess.Popen:
        given = {"SLURM_JOB_ID": "7", "STATE": "RUNNING", "PLAN": plan, "LC_ALL": "C"}
        given["NOTES"] = str(tmp_path / "notes")
        env = {**os.environ, **given, **env, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(
            ["bash", *command], cwd=PROJECT, env=env, start_new_session=True, **pipes
        )
        started.append(process)
        return process

    start.notes = lambda: (tmp_path / "notes").read_text().splitlines()
    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize("code", [75, 134, 137, 143])
def test_a_job_that_was_preempted_or_crashed_goes_back_into_the_queue(job, code):
    process = job(TRAIN, f"exit {code}")
    process.communicate(timeout=600)
    assert process.returncode == code
    assert "scontrol requeue 7" in job.notes()


@pytest.mark.parametrize("code", [0, 1, 2, 127])
def test_a_job_that_is_done_or_mistaken_ends(job, code):
    process = job(TRAIN, f"exit {code}")
    process.communicate(timeout=600)
    assert process.returncode == code
    assert not any(note.startswith("scontrol") for note in job.notes())


def test_restarts_are_limited(job):
    process = job(TRAIN, "exit 143", SLURM_RESTART_COUNT="3")
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert stderr == "error: exit code 143; gave up after 3 restarts\n"


def test_a_job_that_was_cancelled_does_not_come_back(job):
    process = job(TRAIN, "exit 143", STATE="COMPLETING")
    process.communicate(timeout=600)
    assert process.returncode == 143
    assert not any(note.startswith("scontrol") for note in job.notes())


def test_the_warning_before_the_time_limit_lets_the_program_save(job):
    saving = 'command -p sleep 0.5; echo saved >> "$NOTES"; exit 143'
    plan = f"trap '{saving}' TERM; echo up; command -p sleep 600 > /dev/null 2>&1 & wait"
    process = job(TRAIN, plan)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode == 143
    srun, *notes = job.notes()
    assert notes[:2] == ["scancel --quiet --signal=TERM 7", "saved"]
    assert "scontrol requeue 7" in notes[2:]


def test_an_array_task_encodes_its_shard_and_requeues_itself_alone(job):
    task = {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "3"}
    process = job([*ENCODE, "--python=some/python"], "exit 143", **task)
    process.communicate(timeout=600)
    assert process.returncode == 143
    encode, *_, requeue, _ = job.notes()
    assert encode.endswith(
        "some/python -m tokenizer_bridge.encode --audio=/a b --output=/c d --codec=demo "
        "--device=cpu --shard=3/4"
    )
    assert requeue == "scontrol requeue 7_3"
