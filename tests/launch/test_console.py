"""The console command sedd-music: its list, and commands through it as through python -m."""

import subprocess
import sys

import pytest

from launch import console
from tests.programs import ROOT
from tests.test_commands import COMMANDS

START = "from launch.console import main; main()"


def run(*words: str, start: str = START) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", start, *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_every_command_has_one_name():
    modules = [module for group in console.COMMANDS.values() for module in group.values()]
    assert sorted(modules) == sorted(COMMANDS)


def test_the_list_says_what_each_does_and_loads_neither_framework():
    heavy = "{'jax', 'torch', 'numpy'} & sys.modules.keys()"
    done = run("-h", start=f"import sys, atexit; atexit.register(lambda: print({heavy})); {START}")
    assert (done.returncode, done.stderr) == (0, "")
    *lines, loaded = done.stdout.splitlines()
    assert loaded == "set()"
    assert "  train               Trains a model on a token dataset." in lines
    summaries = [line.split("  ", 2)[2].strip() for line in lines if line.startswith("  ")]
    assert len(summaries) == len(COMMANDS)
    assert all(len(line) <= 120 and line[-1] in ".?" for line in summaries)


@pytest.mark.parametrize(("words", "code", "error"), [
    (["trian"], 1, "error: there is no command trian; did you mean train?\n"),
    (["x"], 1, "error: there is no command x; sedd-music -h lists those that there are\n"),
    (["split_music", "--output=DIR"], 1, "error: --music"),
])  # fmt: skip
def test_a_mistake_is_one_line(words, code, error):
    done = run(*words)
    assert done.returncode == code and done.stderr.startswith(error)
    assert len(done.stderr.splitlines()) == 1


def test_help_of_a_command_names_it_as_it_was_typed():
    done = run("split-music", "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: sedd-music split-music [-h] ")


def test_the_version():
    assert run("--version").stdout == "sedd-music 0.1.0\n"
