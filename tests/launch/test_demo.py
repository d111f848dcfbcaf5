"""Everything that is shipped, made again: the script, and all of it once at the reduced setting."""

import ctypes.util
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from sedd_jax import Model
from tests.programs import ROOT, Program, wait_until
from tests.test_readmes import check_command
from tokenizer_bridge.sources.scores import SOUND_FONT
from tokenizer_bridge.token_dataset.records import TokenDataset

STAGES = "corpus codec tokens model steering bound export pieces figures tags page".split()
HAS_SOUND = bool(find_spec("music21") and ctypes.util.find_library("fluidsynth"))
IS_REAL = HAS_SOUND and SOUND_FONT.is_file()

# Notes how it is called, and makes what the script looks for. FAIL: the module at which it fails.
# WAIT: the module at which it waits for SIGTERM, and says so.
NOTING = """#!/bin/sh
echo "called: $*"
[ "$2" != "$FAIL" ] || { echo "error: it cannot" >&2; exit 1; }
[ "$2" != "$WAIT" ] || { trap 'echo saved; exit 143' TERM; echo waits; while :; do sleep .1; done; }
for argument in "$@"; do
  case $argument in --output=*|--workdir=*) made=${argument#*=} ;; esac
done
case $2 in
  *.render_scores) mkdir -p "$made" && touch "$made/corpus.json" ;;
  *.train_codec|*.export) mkdir -p "$made" && touch "$made/model.safetensors" ;;
  *.encode) mkdir -p "$made" && touch "$made/dataset.json" ;;
  *.train) mkdir -p "$made" && touch "$made/config.json" ;;
  *.decode|*.report) mkdir -p "$made" ;;
  *.judge_tags) mkdir -p "$made" && touch "$made/judged.json" ;;
  *.measure_notes|*.page) touch "$made" ;;
esac
"""


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def environment(folder: Path, python: str, free: int = 20000, **more: str) -> dict[str, str]:
    """Variables with which the script takes a folder's `python` for its environment's.

    It finds `free` MB on the disk, whatever this machine has.
    """
    write_program(folder / "venv/bin/python", python)
    for file in ("requirements.txt", "launch/requirements-demo.txt"):
        digest = hashlib.sha256((ROOT / file).read_bytes()).hexdigest()
        (folder / f"venv/.{Path(file).stem}.sha256").write_text(f"{digest}  -\n")
    write_program(folder / "bin/ldconfig", "#!/bin/sh\necho libfluidsynth.so.3\n")
    write_program(folder / "bin/df", f"#!/bin/sh\necho head\necho /dev/x 90000 1 {free} 10% /\n")
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    return os.environ | {"VENV": str(folder / "venv"), "PATH": path, "LC_ALL": "C"} | more


@pytest.fixture
def arguments(tmp_path):
    """The words that start the script on a folder of the test, with a sound font."""
    (tmp_path / "font.sf2").write_text("a font")
    return [
        "bash",
        str(ROOT / "launch/demo.sh"),
        f"--output={tmp_path / 'my demo'}",
        f"--sound_font={tmp_path / 'font.sf2'}",
    ]


@pytest.fixture
def demo(tmp_path, arguments):
    """Runs the script with a python that only notes how it is called."""

    def run(*more: str, **variables: str | int) -> subprocess.CompletedProcess:
        env = environment(tmp_path, NOTING, **variables)
        return subprocess.run([*arguments, *more], env=env, capture_output=True, text=True)

    return run


def called(done: subprocess.CompletedProcess) -> list[str]:
    return [line.split()[2] for line in done.stdout.splitlines() if line.startswith("called: ")]


def times(folder: Path) -> list[tuple[str, str]]:
    """(stage, what) of each line of times.txt."""
    return [tuple(line.split()[2:4]) for line in (folder / "times.txt").read_text().splitlines()]


@pytest.mark.parametrize("setting", [[], ["--reduced"]])
def test_the_commands_of_a_dry_run_are_ones_that_there_are(demo, setting, tmp_path):
    done = demo("--dry_run", *setting)
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(commands) >= len(STAGES)
    for command in commands:
        check_command(command, whole=True)
    assert not (tmp_path / "my demo").exists() and not called(done)


def test_a_stage_that_failed_is_gone_on_with(demo, tmp_path):
    first = demo(FAIL="sedd_jax.train")
    assert first.returncode == 1 and "stopped at model" in first.stderr
    assert called(first)[-1] == "sedd_jax.train"
    assert times(tmp_path / "my demo")[-1] == ("model", "stopped")
    second = demo()
    assert second.returncode == 0, second.stderr
    assert called(second)[0] == "sedd_jax.train" and "launch.page" in called(second)
    ended = [stage for stage, what in times(tmp_path / "my demo") if what == "done"]
    assert ended == STAGES
    assert f"listen: file://{tmp_path}/my%20demo/index.html\n" in second.stdout
    assert called(demo()) == []


def test_what_follows_a_stage_with_other_arguments_is_made_again(demo, tmp_path):
    assert demo().returncode == 0
    assert called(demo("--hours=2"))[0] == "tokenizer_bridge.render_scores"
    (tmp_path / "my demo/notes.json").unlink()
    again = called(demo("--hours=2"))
    assert again[0] == "tokenizer_bridge.evaluate_codec" and again[-1] == "launch.page"


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on(arguments, tmp_path, sent):
    env = environment(tmp_path, NOTING, WAIT="tokenizer_bridge.train_codec")
    with Program(arguments, env=env) as program:
        wait_until(lambda: "waits\n" in program.said()[0], [program])
        os.kill(program.pid, sent)
        done = program.result()
    assert done.returncode == 128 + sent
    assert "saved\n" in done.stdout and "stopped at codec" in done.stderr
    assert times(tmp_path / "my demo")[-1] == ("codec", "stopped")


def test_a_command_that_has_only_just_been_started_is_ended_too(arguments, tmp_path):
    """The signal comes before the line that follows the one that starts it."""
    send = "trap '[ -z ${!-} ] || { trap - DEBUG; kill -TERM $$; }' DEBUG; set -o functrace\n"
    (tmp_path / "send.sh").write_text(send)
    env = environment(tmp_path, NOTING, WAIT="tokenizer_bridge.render_scores")
    with Program(arguments, env=env | {"BASH_ENV": str(tmp_path / "send.sh")}) as program:
        assert program.result().returncode == 143
        with pytest.raises(ProcessLookupError):  # nobody is left of its group
            os.killpg(program.pid, 0)


def test_no_sound_is_one_line_before_anything_else(demo, tmp_path):
    (tmp_path / "font.sf2").unlink()
    done = demo()
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    for word in ("fluidsynth", "LGPL", "fluid-soundfont-gm", "MIT", "120 MB"):
        assert word in done.stderr
    assert not (tmp_path / "my demo").exists()


def test_a_tilde_is_the_users_home(demo, tmp_path):
    done = demo("--dry_run", "--reduced", "--output=~/my demo", HOME=f"{tmp_path / 'my home'}")
    assert done.returncode == 0 and f"{tmp_path / 'my home' / 'my demo'}/".replace(" ", "\\ ") in (
        done.stdout
    )
    assert "~" not in done.stdout


@pytest.mark.parametrize("flag", ["--hours=0", "--hours=0.0", "--output=", "--output=gs://b/x"])
def test_no_music_and_no_folder_are_refused_even_dry(demo, flag):
    done = demo("--dry_run", flag)
    assert done.returncode != 0 and done.stdout == ""
    assert done.stderr.startswith(f"error: {flag}: must be") and done.stderr.count("\n") == 1


def test_too_little_room_is_one_line(demo, tmp_path):
    done = demo("--reduced", free=900)
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr == (
        f"error: {tmp_path / 'my demo'}: 1000 MB are needed, and 900 MB are free or already used "
        "there\n"
    )


def test_all_is_made_from_nothing_and_after_a_kill(arguments, tmp_path):
    """With music21, FluidSynth and its sound font as they are, where they are."""
    python = shlex.quote(sys.executable)
    wrapper = f'#!/bin/sh\nexec {python} "$@"\n'
    if not IS_REAL:
        wrapper = (
            '#!/bin/sh\n[ "$2" != tokenizer_bridge.render_scores ] ||\n'
            f'  {{ shift 2; exec {python} -m tests.launch.toy_render "$@"; }}\n'
            f'exec {python} "$@"\n'
        )
    variables = {"OMP_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}
    env = environment(tmp_path, wrapper, **variables)
    words = [*(arguments[:-1] if IS_REAL else arguments), "--reduced"]
    out = tmp_path / "my demo"
    log = out / "codec/log.jsonl"
    with Program(words, env=env) as program:
        wait_until(lambda: log.exists() and log.read_text().count("\n") >= 1, [program])
    with Program(words, env=env) as program:
        done = program.result(1500)  # ninety seconds of CPU time
    assert done.returncode == 0, done.stderr
    assert "1/11 corpus: done before" in done.stderr
    # Gone on with, not begun anew.
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [10, 20, 30]
    assert [stage for stage, what in times(out) if what == "begun"].count("codec") == 2

    tokens = TokenDataset(out / "tokens")
    held_out = {r.id for split in ("validation", "test") for r in tokens.records(split)}
    links = {os.path.relpath(p.resolve(), out / "corpus") for p in (out / "music").rglob("*.flac")}
    assert links == held_out | {record.id for record in tokens.records("train")}
    held_links = (out / "music/held_out").rglob("*.flac")
    assert {os.path.relpath(p.resolve(), out / "corpus") for p in held_links} == held_out

    model = Model.load(out / "demo")
    assert model.codec["name"] == "demo-scores-remade" and "tempo---slow" in model.tags
    [measured] = json.loads((out / "report/report.json").read_text())["measurements"]
    assert measured
    assert json.loads((out / "notes.json").read_text())["copies"]
    assert json.loads((out / "tags/judged.json").read_text())
    assert "test tracks" in (out / "demo/README.md").read_text()
    assert (out / "index.html").stat().st_size > 1e5
