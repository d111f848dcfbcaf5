"""Commands are modules like others: several can be imported into one process and called."""

import ast
import re
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
    assert module.__doc__.splitlines()[0] in text


def test_errors_of_library_modules_name_no_arguments():
    """They are raised in programs as well, where nobody has typed any."""
    raised = []
    for path in sorted((ROOT / "tokenizer_bridge").rglob("*.py")):
        text = path.read_text()
        if path.parent.name == "jobs" or "\ndef make_parser(" in text:
            continue  # a command, or its work
        if "\ndef add_source_arguments(" in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Raise):
                words = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
                raised += [(path.name, word) for word in words if isinstance(word, str)]
    assert len(raised) > 100
    found = [(name, text) for name, text in raised if re.search(r"(?<!\w)--[a-z]", text)]
    assert [name for name, text in found if "curl" not in text] == []
