"""The virtual environment that launch/env.sh makes: what is installed, when, and what is said."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
BASE = f"--requirement={PROJECT}/requirements.txt"

# A Python whose venv holds itself, and whose pip notes how it is called.
PYTHON = """#!/bin/sh
case "$1 $2" in
  "-c "*) exit 0 ;;
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip")
    echo "$*" >> "$LOG"
    echo "Collecting torch==2.14.1 (from -r requirements.txt (line 13))"
    echo "  Downloading torch-2.14.1.whl (530.7 MB)"
    echo "  Downloading small-1.0.whl (12 kB)"
    echo "Installing collected packages: small, torch, numpy"
    exit "${PIP_CODE:-0}"
    ;;
esac
"""


@pytest.fixture
def make(tmp_path):
    """Runs the script with variables; gives (what it did, the calls of pip)."""
    python, log = tmp_path / "python", tmp_path / "log"
    python.write_text(PYTHON)
    python.chmod(0o755)

    def run(**variables: str) -> tuple[subprocess.CompletedProcess, list[str]]:
        log.write_text("")
        ours = {"VENV": str(tmp_path / "my venv"), "PYTHON": str(python), "LOG": str(log)}
        done = subprocess.run(
            ["bash", PROJECT / "launch/env.sh"],
            env=os.environ | ours | variables,
            capture_output=True,
            text=True,
        )
        return done, log.read_text().splitlines()

    return run


def test_it_is_made_once_and_says_how_big_it_is(make):
    done, calls = make()
    assert done.returncode == 0 and done.stderr == ""
    assert len(calls) == 2 and calls[0].endswith(f" {BASE}")
    assert calls[1].endswith(f" --no-deps --editable {PROJECT}")
    assert "6 GB on disk" in done.stdout and "TORCH=cpu bash" in done.stdout
    assert "  Downloading torch-2.14.1.whl (530.7 MB)\n  unpacking 3 packages\n" in done.stdout
    assert "small" not in done.stdout
    done, calls = make()
    assert (done.returncode, done.stdout, calls) == (0, "", [])


def test_extras_come_on_top_and_stay(make):
    make()
    done, calls = make(EXTRAS="cuda,dev")
    launch = f"--requirement={PROJECT}/launch/requirements-"
    assert calls[0].endswith(f" {BASE} {launch}cuda.txt {launch}dev.txt")
    assert "6 GB" not in done.stdout
    assert [make(**extras)[1] for extras in ({"EXTRAS": "dev"}, {})] == [[], []]


def test_an_extra_that_there_is_not_is_one_line(make):
    done, calls = make(EXTRAS="dev,gpu")
    line = "error: EXTRAS=dev,gpu: there is no gpu; there are cuda, tpu, demo, app, dev and wandb\n"
    assert (done.returncode, done.stderr, calls) == (1, line, [])


def test_what_pip_cannot_install_is_tried_again(make):
    done, _ = make(PIP_CODE="1")
    assert (done.returncode, done.stderr) == (1, "error: pip could not install requirements.txt\n")
    assert len(make()[1]) == 2


def test_what_was_half_installed_is_not_taken_for_what_was_there_before(make, tmp_path):
    make()
    stamp = tmp_path / "my venv/.requirements.sha256"
    before = stamp.read_text()
    stamp.write_text("of other pins\n")
    assert make(PIP_CODE="1")[0].returncode == 1
    assert not stamp.exists()
    make()
    assert stamp.read_text() == before


def test_pytorch_without_cuda_comes_first_and_from_its_own_index(make):
    done, calls = make(TORCH="cpu")
    assert done.returncode == 0 and "6 GB" not in done.stdout
    assert "--index-url=https://download.pytorch.org/whl/cpu torch==" in calls[0]
    assert " torchaudio==" in calls[0] and "--requirement" not in calls[0]
    assert calls[1].endswith(BASE)


def test_an_nvidia_card_that_is_left_alone_is_mentioned(make, tmp_path):
    card = tmp_path / "nvidia-smi"
    card.write_text("#!/bin/sh\n")
    card.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert "EXTRAS=cuda bash launch/env.sh" in make(PATH=path)[0].stderr
    assert make(PATH=path, EXTRAS="cuda")[0].stderr == ""
    assert make(PATH=path)[0].stderr == ""


def test_of_two_scripts_that_start_at_once_one_installs(tmp_path):
    python, log, gate = tmp_path / "python", tmp_path / "log", tmp_path / "gate"
    script = PYTHON.replace('"-c "*) exit 0', f'"-c "*) exec \'{sys.executable}\' "$@"')
    closed = 'while [ ! -e "$GATE" ]; do sleep 0.05; done'
    python.write_text(script.replace('echo "$*"', f'{closed}; echo "$*"'))
    python.chmod(0o755)
    ours = {"VENV": str(tmp_path / "my venv"), "PYTHON": str(python), "LOG": str(log)}
    start = functools.partial(
        subprocess.Popen,
        ["bash", PROJECT / "launch/env.sh"],
        env=os.environ | ours | {"GATE": str(gate)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with start() as one, start() as other:
        beginnings = sorted([one.stdout.readline(), other.stdout.readline()])
        gate.touch()
        said = one.stdout.read() + other.stdout.read()
    assert [line.split(" ")[0] for line in beginnings] == ["installing", "waiting"]
    assert [one.returncode, other.returncode] == [0, 0] and said.count("unpacking") == 2
    assert len(log.read_text().splitlines()) == 2  # pip's calls, as of one alone
