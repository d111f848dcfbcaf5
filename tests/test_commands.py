"""Commands are modules like others: several can be imported into one process and called."""

import ast
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in ("sedd_jax", "tokenizer_bridge", "launch")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "\ndef make_parser(" in path.read_text()
]
# What takes long to load: a command reads its arguments without.
SLOW = [
    *("jax", "jaxlib", "flax", "optax", "orbax", "grain", "tensorstore", "array_record"),
    *("torch", "torchaudio", "numpy", "scipy", "matplotlib", "soundfile", "safetensors", "fsspec"),
    *("huggingface_hub", "onnxruntime", "pyloudnorm", "jinja2", "mutagen", "etils", "tqdm"),
    "gradio",
]
# Asks each command for its help and for an argument that there is not, and prints what it says.
ASK = """
import contextlib, importlib, io, json, sys

slow, commands = json.loads(sys.argv[1])
sys.modules.update(dict.fromkeys(slow))
answers = {}
for name in commands:
    main, said = importlib.import_module(name).main, io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        main(["-h"])
    try:
        main(["--no_such_argument=1"])
    except Exception as error:
        answers[name] = [said.getvalue(), str(error)]
print(json.dumps(answers))
"""


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", program, *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_help_and_a_wrong_argument_are_answered_at_once():
    """All in one process. Fails where a command, or what it imports, loads what is slow to load."""
    done = run_python(ASK, json.dumps([SLOW, COMMANDS]))
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout)
    assert list(answers) == COMMANDS
    for name, (text, error) in answers.items():
        assert text.startswith("usage: ") and import_module(name).__doc__.splitlines()[0] in text
        assert "there is no argument --no_such_argument" in error, name


def test_a_config_is_printed_and_checked_without_jax():
    program = f"import sys; sys.modules.update(dict.fromkeys({SLOW}))\n" + (
        "from sedd_jax.train import main; main(sys.argv[1:])"
    )
    shown = run_python(program, "--config=music_small", "--print_config", "--workdir=x")
    assert (shown.returncode, shown.stderr) == (0, "") and "config.model.width=768" in shown.stdout
    wrong = run_python(program, "--config=music_small", "--workdir=x", "--config.optim.lr=1")
    assert "did you mean config.optim.learning_rate?" in wrong.stderr


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
