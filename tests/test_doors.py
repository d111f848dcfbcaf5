"""What every door of both packages makes of errors that are not of our making."""

import signal
import subprocess
import sys
from subprocess import PIPE

import pytest


@pytest.mark.parametrize("errors", ["sedd_jax.errors", "tokenizer_bridge.token_dataset.errors"])
@pytest.mark.parametrize(("error", "line"), [
    ("FileNotFoundError(2, 'No such file', '/a/b')", "error: /a/b: No such file"),
    ("OSError(28, 'No space left on device')", "error: nothing more can be written: "),
    ("MemoryError('8 GiB')", "error: not enough memory: 8 GiB"),
    ("RuntimeError('RESOURCE_EXHAUSTED: 9 bytes')", "error: not enough memory: RESOURCE_EXHAU"),
])  # fmt: skip
def test_what_the_system_refuses_is_one_line(errors, error, line):
    program = f"from {errors} import run_door\ndef main(argv):\n    raise {error}\nrun_door(main)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1


def test_sigterm_removes_what_is_half_written(tmp_path):
    program = (
        "import pathlib, time\n"
        "from tokenizer_bridge.token_dataset.errors import run_door\n"
        "from tokenizer_bridge.token_dataset.files import atomic_file\n"
        "def main(argv):\n"
        f"    with atomic_file(pathlib.Path({str(tmp_path / 'figures.json')!r})) as partial:\n"
        "        partial.write_text('half')\n"
        "        print('writing', flush=True)\n"
        "        time.sleep(600)\n"
        "run_door(main)"
    )
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True) as door:
        assert door.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        door.send_signal(signal.SIGTERM)
        _, said = door.communicate(timeout=600)
    assert (door.returncode, said) == (128 + signal.SIGTERM, "terminated\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("errors", ["sedd_jax.errors", "tokenizer_bridge.token_dataset.errors"])
def test_errors_of_our_own_keep_their_traceback(errors):
    program = f"from {errors} import run_door\nrun_door(lambda argv: [][0])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1 and "IndexError" in done.stderr


@pytest.mark.parametrize(("config", "line"), [
    ("1 / 0", "config.py, line 1: ZeroDivisionError: division by zero"),
    ("import no_such", "config.py, line 1: ModuleNotFoundError: No module named 'no_such'"),
    ("def get_config():\n    return {}['k']", "config.py, line 2: KeyError: 'k'"),
    ("def get_config(size): pass", "config.py: Error whilst parsing config file: TypeError: "),
    (None, "No such file or directory: '"),
    ("size = 1", "--config: the file has no get_config()"),
    ("def get_config(:", "invalid syntax (config.py, line 1)"),
])  # fmt: skip
def test_a_config_file_that_raises_is_named(tmp_path, config, line):
    if config is not None:
        (tmp_path / "config.py").write_text(config)
    program = (
        "from ml_collections import config_flags\n"
        "from sedd_jax.errors import run_door\n"
        "config_flags.DEFINE_config_file('config')\n"
        "run_door(print)"
    )
    command = [sys.executable, "-c", program, f"--config={tmp_path / 'config.py'}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert line in done.stderr
