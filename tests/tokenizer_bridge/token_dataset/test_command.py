"""Arguments of commands, and what commands make of errors."""

import os
import signal
import subprocess
import sys
from subprocess import PIPE

import pytest

from tokenizer_bridge.token_dataset.command import (
    Parser,
    Switch,
    comma_list,
    integer,
    list_of,
    number,
)
from tokenizer_bridge.token_dataset.errors import UserError


def make_parser() -> Parser:
    parser = Parser("Does a thing.\n\n    python -m thing\n", prog="thing")
    parser.add_argument("--workdir", required=True, metavar="RUN", help="Directory of the run.")
    parser.add_argument("--output", metavar="NEW", help="Where it goes.")
    parser.add_argument("--num_samples", type=integer(1, 9), default=4, help="How many.")
    parser.add_argument("--share", type=number(0), help="A share.")
    parser.add_argument("--seed", type=integer(0, 2**32 - 1), default=0, help="A seed.")
    parser.add_argument("--sampler", choices=["euler", "analytic"], help="Which.")
    parser.add_argument("--names", type=comma_list, default=(), help="Some.")
    parser.add_argument("--gaps", type=list_of(number()), default=[0.5, 2.0], help="Gaps.")
    parser.add_argument("--ema", action=Switch, default=True, help="Averages.")
    return parser


def test_arguments_have_their_types():
    arguments = make_parser().parse_args(
        ["--workdir=a b", "--num-samples", "3", "--share=.5", "--names=a, b", "--no-ema"]
    )
    assert (arguments.workdir, arguments.num_samples, arguments.share) == ("a b", 3, 0.5)
    assert arguments.names == ["a", "b"] and arguments.ema is False
    assert make_parser().parse_args(["--workdir=--x-y"]).workdir == "--x-y"
    assert make_parser().parse_args(["--workdir=a", "--ema"]).ema is True


@pytest.mark.parametrize(
    "given, text",
    [
        ("", "--workdir is required"),
        ("--workdir=", "--workdir is empty"),
        ("--workdir=a b", "unexpected argument 'b'"),
        ("--workdir=a --num_sample=3", "no argument --num_sample; did you mean --num_samples?"),
        ("a", "unexpected argument 'a': arguments are written --name=value"),
        ("--input=a", "no argument --input; --help shows"),  # is no misspelt --output
        ("--worksir=a", "no argument --worksir; did you mean --workdir?"),
        ("--workdir=a --zzz", "no argument --zzz; --help shows"),
        ("--workdir=a --work=b", "no argument --work"),
        ("--workdir=a --num_samples=x", "--num_samples: 'x' is no integer"),
        ("--workdir=a --num_samples=0", "--num_samples: 0 must be between 1 and 9"),
        ("--workdir=a --share=-1", "--share: -1 must be at least 0"),
        ("--workdir=a --seed=-1", "--seed: -1 must be between 0 and 4294967295"),
        ("--workdir=a --share=nan", "--share: nan: a finite number"),
        ("--workdir=a --sampler=ode", "--sampler: invalid choice: 'ode'"),
        ("--workdir=a --names=a,,b", "--names: 'a,,b' has an empty item"),
    ],
)
def test_what_is_refused_is_named(given, text):
    with pytest.raises(UserError) as refusal:
        make_parser().parse_args(given.split())
    assert text in str(refusal.value) and "\n" not in str(refusal.value)


def test_help_keeps_the_description_and_names_defaults(capsys):
    with pytest.raises(SystemExit) as end:
        make_parser().parse_args(["--help"])
    said = capsys.readouterr().out
    assert end.value.code == 0 and "[--num_samples" in said and "[--workdir" not in said
    assert "Does a thing.\n\n    python -m thing\n" in said and "How many. (default: 4)" in said
    assert "A seed. (default: 0)" in said and "Some.\n" in said
    assert "Gaps. (default: 0.5,2)" in said


def run(body: str) -> subprocess.CompletedProcess:
    program = f"from tokenizer_bridge.token_dataset.command import *\n{body}"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


@pytest.mark.parametrize(("error", "line"), [
    ("UserError('no such tune')", "error: no such tune"),
    ("FileNotFoundError(2, 'No such file', '/a/b')", "error: /a/b: No such file"),
    ("OSError(28, 'No space left on device')", "error: nothing more can be written: "),
    ("MemoryError('8 GiB')", "error: not enough memory: 8 GiB"),
    ("RuntimeError('RESOURCE_EXHAUSTED: 9 bytes')", "error: not enough memory: RESOURCE_EXHAU"),
])  # fmt: skip
def test_what_the_user_can_mend_is_one_line(error, line):
    done = run(f"def main():\n    raise {error}\nrun_command(main)")
    assert done.returncode == 1
    assert done.stderr.startswith(line) and done.stderr.count("\n") == 1


def test_a_package_that_is_missing_is_one_line():
    done = run("def main():\n    import sys\n    sys.modules['torch'] = None\n"
               "    import torch.nn\nrun_command(main)")  # fmt: skip
    said = "error: this needs the Python package torch, which is not installed"
    assert done.returncode == 1 and done.stderr.startswith(said) and done.stderr.count("\n") == 1
    assert "Traceback" in run("run_command(lambda: __import__('sedd_jax.x'))").stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    program = "from tokenizer_bridge.token_dataset.command import run_command\n"
    program += "run_command(lambda: print('line\\n' * 5))"
    ends = os.pipe()
    os.close(ends[0])
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, stdout=ends[1], stderr=PIPE, text=True)
    os.close(ends[1])
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
    other = run("def main():\n    raise BrokenPipeError\nrun_command(main)")
    assert other.returncode == 1 and "Traceback" in other.stderr


def test_errors_of_our_own_keep_their_traceback():
    done = run("run_command(lambda: [][0])")
    assert done.returncode == 1 and "IndexError" in done.stderr


def test_warnings_are_lines_like_errors():
    done = run(
        "import logging\nabsl, other = map(logging.getLogger, ('absl', 'other'))\n"
        "def main():\n    absl.warning('no %s', 'tune'); other.error('bad'); absl.info('x')\n"
        "run_command(main)"
    )
    assert (done.returncode, done.stderr) == (0, "warning: no tune\nerror: other: bad\n")


def test_the_exit_code_is_main_s():
    assert run("run_command(lambda: 3)").returncode == 3
    assert run("run_command(lambda: None)").returncode == 0


def outcome(program: str) -> tuple[int, str]:
    """Exit code of a Python program, and what it says on stderr."""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=500
    )
    return result.returncode, result.stderr


EXITS = "signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))"


@pytest.mark.parametrize(
    ("number", "before", "said"),
    [
        ("SIGTERM", "", "terminated\n"),
        ("SIGTERM", EXITS, ""),  # as several processes that have joined hear it
        ("SIGINT", "", "interrupted\n"),
    ],
)
def test_a_signal_is_heard_where_exceptions_are_ignored(number, before, said):
    program = (
        "import gc, os, signal, sys, time\n"
        "from tokenizer_bridge.token_dataset.command import run_command\n"
        "def callback(phase, info):\n"
        "    gc.callbacks.clear()\n"
        f"    os.kill(os.getpid(), signal.{number})\n"
        "def main():\n"
        f"    {before}\n"
        "    gc.callbacks.append(callback)\n"
        "    gc.collect()\n"
        "    time.sleep(600)\n"
        "run_command(main)"
    )
    assert outcome(program) == (128 + signal.Signals[number], said)


@pytest.mark.parametrize(
    ("number", "said"), [("SIGTERM", "terminated\n"), ("SIGINT", "interrupted\n")]
)
def test_a_signal_is_heard_where_an_import_makes_another_error_of_it(number, said):
    program = (
        "import os, signal\n"
        "from tokenizer_bridge.token_dataset.command import run_command\n"
        "def main():\n"
        "    try:\n"
        f"        os.kill(os.getpid(), signal.{number})\n"
        "    except BaseException:\n"
        "        pass\n"
        "    raise ImportError('numpy._core.multiarray failed to import')\n"
        "run_command(main)"
    )
    assert outcome(program) == (128 + signal.Signals[number], said)


def test_sigterm_removes_what_is_half_written(tmp_path):
    program = (
        "import pathlib, time\n"
        "from tokenizer_bridge.token_dataset.command import run_command\n"
        "from tokenizer_bridge.token_dataset.files import atomic_file\n"
        "def main():\n"
        f"    with atomic_file(pathlib.Path({str(tmp_path / 'figures.json')!r})) as partial:\n"
        "        partial.write_text('half')\n"
        "        print('writing', flush=True)\n"
        "        time.sleep(600)\n"
        "run_command(main)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=PIPE, stderr=PIPE, text=True
    ) as command:
        assert command.stdout.readline() == "writing\n"
        assert len(list(tmp_path.iterdir())) == 1
        command.send_signal(signal.SIGTERM)
        _, said = command.communicate(timeout=600)
    assert (command.returncode, said) == (128 + signal.SIGTERM, "terminated\n")
    assert list(tmp_path.iterdir()) == []
