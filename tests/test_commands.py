"""Commands are modules like others: several can be imported into one process and called."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("sedd_jax", "tokenizer_bridge", "launch")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "\ndef make_parser(" in path.read_text()
]


def test_all_can_be_imported_into_one_process():
    program = "import sedd_jax.sample, tokenizer_bridge.decode, " + ", ".join(COMMANDS)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_begins_with_what_it_does(command, capsys):
    module = import_module(command)
    with pytest.raises(SystemExit) as end:
        module.main(["--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0
    assert module.__doc__.splitlines()[0] in text and "--" in text
