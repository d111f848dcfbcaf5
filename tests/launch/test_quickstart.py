"""The script around the doors: what it calls, on whatever folder it is given."""

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
RUN = "Best [1990]"  # to a shell that looks for files, a pattern


@pytest.fixture
def quickstart(tmp_path):
    """Runs the script with an environment whose python only notes how it is called."""
    python = tmp_path / "venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(
        "#!/bin/sh\n"
        'for argument in "$@"; do printf "%s|" "$argument"; done\n'
        "echo\n"
        'case "$2" in *.encode) mkdir -p "$RUN/tokens"; touch "$RUN/tokens/$SPLIT-0";; esac\n'
    )
    python.chmod(0o755)
    digest = hashlib.sha256((PROJECT / "requirements.txt").read_bytes()).hexdigest()
    (tmp_path / "venv/.requirements.sha256").write_text(f"{digest}  -\n")

    def run(music: str, split: str = "validation") -> subprocess.CompletedProcess:
        ours = {"VENV": "venv", "CDPATH": "/tmp:.", "LC_ALL": "C"}
        return subprocess.run(
            ["bash", PROJECT / "launch/quickstart.sh", music],
            cwd=tmp_path,
            env=os.environ | ours | {"RUN": str(tmp_path / RUN), "SPLIT": split},
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize("name", ["music", "-my music", "-"])
def test_any_folder_name_reaches_the_doors_whole(quickstart, tmp_path, name):
    (tmp_path / name).mkdir()
    done = quickstart(name)
    assert done.returncode == 0, done.stderr
    assert f"|--audio={tmp_path / name}|" in done.stdout
    assert done.stdout.rstrip().endswith(f"{RUN}/model|--music={tmp_path / name}|")


@pytest.mark.parametrize("split", ["validation", "train"])
def test_a_single_track_is_measured_on_itself(quickstart, tmp_path, split):
    (tmp_path / "music").mkdir()
    assert f"/{RUN}/model|--split={split}|" in quickstart("music", split).stdout


def test_a_folder_that_is_missing_is_one_line(quickstart):
    done = quickstart("nowhere")
    assert done.returncode == 1 and done.stderr == "error: nowhere: no such folder\n"
