"""Every script says what it is for, and does nothing else when it is asked."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# Those that are run; the others are parts of them.
SCRIPTS = [
    path
    for path in sorted((PROJECT / "launch").rglob("*.sh"))
    if path.name == "env.sh" or path.read_text().startswith("#!")
]


def run(script, *arguments, **env):
    return subprocess.run(
        ["bash", script, *arguments], env=os.environ | env, capture_output=True, text=True
    )


@pytest.mark.parametrize("asked", ["--help", "-h"])
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_help_is_the_scripts_own_and_installs_nothing(script, asked, tmp_path):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho started >&2; exit 1\n")
    python.chmod(0o755)
    done = run(script, asked, VENV=str(tmp_path / "venv"), PYTHON=str(python))
    assert done.returncode == 0 and done.stderr == ""
    opening = script.read_text().split("\n# ", 1)[1].splitlines()[0]
    assert done.stdout.startswith(opening) or script.name == "env.sh"
    assert "set -euo" not in done.stdout and "shellcheck" not in done.stdout
    assert len(done.stdout.splitlines()) >= 2
    assert [path.name for path in tmp_path.iterdir()] == ["python"]


@pytest.mark.parametrize(("python", "line"), [
    ("old", "error: PYTHON={} is Python 3.10.13: Python 3.11 to 3.14 is needed\n"),
    ("none", "error: PYTHON={}: no such program, or none that runs\n"),
    ("shim", "error: PYTHON={}: no such program, or none that runs\n"),
])  # fmt: skip
@pytest.mark.parametrize("script", ["env.sh", "test.sh"])
def test_a_python_that_cannot_be_used_is_one_line(script, python, line, tmp_path):
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\ncase "$1" in -c) exit 1;; esac\necho Python 3.10.13\n')
    old.chmod(0o755)
    shim = tmp_path / "shim"  # of pyenv, for a version that is not chosen
    shim.write_text("#!/bin/sh\necho not here: choose another >&2; echo; exit 127\n")
    shim.chmod(0o755)
    chosen = str(tmp_path / python)
    done = run(PROJECT / "launch" / script, VENV=str(tmp_path / "venv"), PYTHON=chosen)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == line.format(chosen)


def test_the_address_of_a_file_can_be_clicked_on(tmp_path):
    name = "/folder/a [b] 'c' \"d\" ü 曲🎵~/x%y?#\\z_.-.html"
    source = shlex.quote(f"{PROJECT}/launch/portable.sh")
    script = f'source {source}; file_url "$1"; file_url "x y"'
    done = subprocess.run(["bash", "-euc", script, "-", name], capture_output=True, cwd=tmp_path)
    relative = (tmp_path / "x y").as_uri()
    assert done.stdout.decode().splitlines() == [Path(name).as_uri(), relative]
