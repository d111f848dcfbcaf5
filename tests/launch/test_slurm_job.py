"""What the SLURM launchers do inside a job, with stand-ins for SLURM's commands."""

import contextlib
import os
import signal
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
# Those that AILING names fail so many TIMES.
NOTE = r"""
#!/usr/bin/env bash
echo "${0##*/} $*" >> "$NOTES"
case " $AILING " in
  *" ${0##*/} "*) [ "$(grep -c "^${0##*/} " "$NOTES")" -gt "$TIMES" ] || exit 1 ;;
esac
""".lstrip()
COMMANDS = {
    # The plan is the processes of the step, which scancel reaches; srun itself is to be let alone.
    "srun": """bash -c 'echo $$ > "$NOTES.pid"; eval "$PLAN"' & wait $!""",
    "scancel": 'kill -TERM "$(cat "$NOTES.pid")"',
    "squeue": '[ -z "$LATE" ] || kill -TERM $(ps -o pgid= $$); echo "$STATE"',
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
        given |= {"AILING": "", "TIMES": "2", "LATE": ""}
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


def test_a_job_whose_nodes_have_not_all_answered_a_signal_goes_back_too(job):
    process = job(TRAIN, "exit 143", STATE="SIGNALING")
    process.communicate(timeout=600)
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


def test_a_controller_that_does_not_answer_at_once_is_asked_again(job):
    process = job(TRAIN, "exit 143", AILING="squeue scontrol")
    process.communicate(timeout=600)
    assert process.returncode == 143
    assert job.notes().count("scontrol requeue 7") == 3


def test_a_controller_that_never_answers_is_one_line(job):
    process = job(TRAIN, "exit 143", AILING="squeue", TIMES="99")
    _, stderr = process.communicate(timeout=600)
    assert process.returncode == 1
    assert stderr == "error: exit code 143; SLURM does not answer\n"


def test_a_warning_that_comes_when_the_program_has_ended_does_not_end_the_job(job):
    process = job(TRAIN, "exit 75", LATE="yes")
    process.communicate(timeout=600)
    assert process.returncode == 75
    assert "scontrol requeue 7" in job.notes()


@pytest.mark.parametrize("ailing", ["", "scancel"])
def test_the_warning_before_the_time_limit_lets_the_program_save(job, ailing):
    saving = 'command -p sleep 0.5; echo saved >> "$NOTES"; exit 143'
    plan = f"trap '{saving}' TERM; echo up; command -p sleep 600 > /dev/null 2>&1 & wait"
    process = job(TRAIN, plan, AILING=ailing)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=600)
    assert process.returncode == 143
    notes = [note for note in job.notes() if note != "sleep 2"]
    told = notes.index("saved") - 1
    assert notes[1 : told + 1] == ["scancel --quiet --signal=TERM 7"] * (3 if ailing else 1)
    assert "scontrol requeue 7" in notes[told + 2 :]


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
