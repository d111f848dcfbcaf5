"""launch/tpu_vm.sh against a gcloud that keeps its TPUs as folders here and runs the commands."""

import contextlib
import os
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.programs import wait_until

PROJECT = Path(__file__).resolve().parents[2]

# describe, create, delete, scp and ssh of tpu-vm. A TPU is a folder with a `state` and a home
# folder for each worker; every call is logged. By a line of `faults` such as "scp 2 PREEMPTED" the
# second scp fails and leaves the TPU in that state, or MISSING. A queued resource only ever comes
# as far as the word in `queued`; where that is empty, it cannot be asked for.
GCLOUD = r"""
#!/usr/bin/env bash
set -euo pipefail
echo "$*" >> "$CLOUD/calls"
[ "$1 $2" = "compute tpus" ]
kind=$3; verb=$4; shift 4
echo "WARNING: Python 3.8 will not be supported for long" >&2
if [ "$kind" = queued-resources ]; then
  case $verb in
    describe)
      [ -s "$CLOUD/queued" ] || { echo "ERROR: it is ill"; echo "Be patient" >&2; exit 1; }
      [ -e "$CLOUD/queue" ] || { echo "ERROR: NOT_FOUND: no such request" >&2; exit 1; }
      cat "$CLOUD/queued" ;;
    create) touch "$CLOUD/queue" ;;
    delete) rm "$CLOUD/queue" ;;
  esac
  exit
fi
worker=all; names=(); command=
for word in "$@"; do
  case $word in
    --worker=*) worker=${word#*=} ;;
    --command=*) command=${word#*=} ;;
    -*) ;;
    *) names+=("$word") ;;
  esac
done
tpu=$CLOUD/${names[-1]%%:*}
times=$(grep -c "^compute tpus tpu-vm $verb " "$CLOUD/calls")
if grep -q "^$verb $times " "$CLOUD/faults" 2>/dev/null; then
  sed -n "s/^$verb $times //p" "$CLOUD/faults" > "$tpu/state"
  if [ "$(cat "$tpu/state")" = MISSING ]; then mv "$tpu" "$(mktemp -d "$CLOUD/deleted-XXXX")"; fi
  exit 255
fi
case $verb in
  describe)
    [ -e "$tpu" ] || { echo "ERROR: NOT_FOUND: no such TPU" >&2; exit 1; }
    cat "$tpu/state" ;;
  create) mkdir -p "$tpu/worker-0" "$tpu/worker-1"; echo READY > "$tpu/state" ;;
  delete) mv "$tpu" "$(mktemp -d "$CLOUD/deleted-XXXX")" ;; # its workers may still be writing
  scp)
    for host in "$tpu/"worker-*; do cp "${names[0]}" "$host/${names[1]#*:}"; done ;;
  ssh)
    [ "$(cat "$tpu/state")" = READY ] || exit 255
    for host in "$tpu/"worker-*; do
      if [ "$worker" = all ] || [ "$worker" = "${host##*-}" ]; then
        (cd "$host" && HOME=$host bash -c "$command")
      fi
    done ;;
esac
"""
# In the place of the environment's Python: notes its arguments and acts by the next line of plan.
PYTHON = r"""
#!/usr/bin/env bash
printf '%s\n' "$@" "LIBTPU_INIT_ARGS=$LIBTPU_INIT_ARGS" > "$HOME/arguments"
lives=$CLOUD/lives-${HOME##*/}
echo >> "$lives"
exec bash -c "$(sed -n "$(wc -l < "$lives")p" "$CLOUD/plan")"
"""
UV = r"""
#!/usr/bin/env bash
[ "$1" != venv ] || { mkdir -p .venv/bin; cp "$CLOUD/bin/train" .venv/bin/python; }
"""
# Leaves out the weights of the demo, which take as long as all the rest.
TAR = r"""
#!/usr/bin/env bash
exec env PATH="$REAL_PATH" tar --exclude=sedd_jax/assets "$@"
"""


@pytest.fixture
def cloud(tmp_path: Path):
    """Runs tpu_vm.sh with that gcloud: plan, one line a life of the program, then the flags."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tmp_path / "tmp").mkdir()
    programs = {"gcloud": GCLOUD, "train": PYTHON, "uv": UV, "tar": TAR, "python3": ""}
    programs["python3"] = r"""
        #!/usr/bin/env bash
        [ "$2" = pip ] || exec /usr/bin/env -S PATH="$REAL_PATH" python3 "$@"
    """

    def write(name: str, text: str) -> None:
        (tools / name).write_text(textwrap.dedent(text).lstrip())
        (tools / name).chmod(0o755)

    for name, text in programs.items():
        write(name, text)

    def start(plan: list[str], *flags: str) -> subprocess.Popen:
        (tmp_path / "plan").write_text("\n".join(plan) + "\n")
        command = ["bash", "launch/tpu_vm.sh", "--name=mine", "--zone=us-west4-a", "--poll_s=1"]
        command += ["--topology=v4:2x2x2", "--config=configs/music_small.py"]
        command += ['--tokens=/bucket/it\'s "mine"; $(touch x)', "--workdir=/bucket/run", *flags]
        path = f"{tools}:{os.environ['PATH']}"
        env = {**os.environ, "CLOUD": str(tmp_path), "PATH": path, "REAL_PATH": os.environ["PATH"]}
        env |= {"LC_ALL": "C", "TMPDIR": str(tmp_path / "tmp")}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=PROJECT, env=env, start_new_session=True, **pipes)

    def run(plan: list[str], *flags: str) -> subprocess.CompletedProcess:
        process = start(plan, *flags)
        try:
            stdout, stderr = process.communicate(timeout=600)
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def hurry() -> None:
        """Lets nobody wait long between two looks, as long as no program has been started.

        One that takes longer to end than 20 looks would be killed.
        """
        started = 'set -- "$1" "$CLOUD"/lives-*; [ ! -e "$2" ] || exec /bin/sleep "$1"'
        write("sleep", f"#!/bin/sh\n{started}\nexec /bin/sleep 0.01\n")

    run.start, run.home, run.hurry, run.write = start, tmp_path, hurry, write
    return run


def calls(home: Path, verb: str) -> int:
    return sum(line.split()[3] == verb for line in (home / "calls").read_text().splitlines())


def lives(home: Path) -> list[int]:
    """How often each worker has started the program."""
    return [len(path.read_text()) for path in sorted(home.glob("lives-*"))]


def test_trains_on_all_workers_with_the_exact_arguments(cloud):
    done = cloud(["exit 0"], "--create")
    assert done.returncode == 0, done.stderr
    assert "training is complete" in done.stderr
    for worker in range(2):
        seen = (cloud.home / "mine" / f"worker-{worker}" / "arguments").read_text().splitlines()
        assert seen[:3] == ["-m", "sedd_jax.train", "--distributed"]
        assert '--tokens=/bucket/it\'s "mine"; $(touch x)' in seen
        assert seen[-1].startswith("LIBTPU_INIT_ARGS=--xla_tpu")
        copy = cloud.home / "mine" / f"worker-{worker}" / "sedd-music"
        sent = {path.name for path in copy.iterdir()}
        assert {"sedd_jax", "tokenizer_bridge", "configs", "launch", "requirements.txt"} <= sent
        assert not {"tests", "runs", ".git"} & sent


def test_a_program_that_was_preempted_or_crashed_starts_again(cloud):
    done = cloud(["exit 143", "kill -ABRT $$", "exit 75", "exit 0"], "--create")
    assert done.returncode == 0, done.stderr
    assert lives(cloud.home) == [4, 4]
    assert calls(cloud.home, "create") == 1


def test_a_mistake_ends_the_launcher_and_shows_the_log(cloud):
    done = cloud(["echo error: no such data; exit 1", "exit 0"], "--create")
    assert done.returncode == 1
    assert "error: no such data" in done.stderr
    assert "exit code 1" in done.stderr.splitlines()[-1]
    assert lives(cloud.home) == [1, 1]


def test_a_tpu_that_was_preempted_is_made_anew(cloud):
    # Worker 0 alone tells of it, once: the folder of the new TPU has the old one's name.
    first = "case $HOME in *worker-1) exit 143 ;; esac"
    both_ran = 'until [ "$(cat "$CLOUD"/lives-* | wc -l)" -ge 2 ]; do sleep 0.1; done'
    preempted = f'{first}; {both_ran}; echo PREEMPTED > "$CLOUD/mine/state"; exit 143'
    done = cloud([preempted, "exit 0"], "--create", "--delete")
    assert done.returncode == 0, done.stderr
    assert lives(cloud.home) == [2, 2]
    assert calls(cloud.home, "create") == 2
    assert calls(cloud.home, "delete") == 2  # the old one, and the new one when all was done


def test_a_tpu_that_is_taken_away_while_the_program_is_started_again_is_made_anew(cloud):
    # The program is told of it before the state of the machine changes.
    (cloud.home / "faults").write_text("scp 2 PREEMPTED\ndelete 1 PREEMPTED\n")
    done = cloud(["exit 143", "exit 0"], "--create")
    assert done.returncode == 0, done.stderr
    assert lives(cloud.home) == [2, 2]
    assert [calls(cloud.home, verb) for verb in ("create", "delete", "scp")] == [2, 2, 3]


def test_a_program_that_could_not_be_started_is_tried_again_a_few_times(cloud):
    cloud.hurry()
    (cloud.home / "faults").write_text("scp 1 READY\nscp 2 READY\nscp 3 READY\n")
    done = cloud(["exit 0"], "--create", "--max_restarts=1")
    assert done.returncode == 0, done.stderr
    assert lives(cloud.home) == [1, 1]


def test_a_program_that_cannot_be_started_is_an_error(cloud):
    cloud.hurry()
    (cloud.home / "faults").write_text("".join(f"scp {n} READY\n" for n in range(20)))
    done = cloud(["exit 0"], "--create")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: the program could not be started on mine"
    assert calls(cloud.home, "scp") == 4


def test_restarts_are_limited(cloud):
    done = cloud(["exit 143"] * 3, "--create", "--max_restarts=1")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: gave up after 1 restarts"
    assert lives(cloud.home) == [2, 2]


def test_without_create_a_missing_tpu_is_an_error(cloud):
    done = cloud(["exit 0"])
    assert (done.returncode, done.stderr) == (1, "error: there is no TPU mine; --create makes it\n")


def test_training_outlives_the_launcher_and_is_found_again(cloud):
    plan = ['until [ -e "$CLOUD/go" ]; do sleep 0.1; done']
    first = cloud.start(plan, "--create")
    try:
        wait_until(lambda: lives(cloud.home) == [1, 1])
        os.killpg(first.pid, signal.SIGKILL)
        other = cloud(plan, "--workdir=/bucket/other")
    finally:
        (cloud.home / "go").touch()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(first.pid, signal.SIGKILL)
        first.communicate()
    assert other.returncode == 1
    assert other.stderr.splitlines()[-1].startswith("error: another program runs on mine")
    again = cloud(plan)
    assert again.returncode == 0, again.stderr


def test_gcloud_that_fails_seldom_is_asked_for_as_long_as_capacity_takes(cloud):
    cloud.hurry()
    (cloud.home / "mine").mkdir()
    (cloud.home / "mine" / "state").write_text("CREATING\n")
    faults = [f"describe {n} CREATING\n" for n in range(2, 60, 2)]
    (cloud.home / "faults").write_text("".join([*faults, "describe 60 PREEMPTED\n"]))
    done = cloud(["exit 0"], "--create")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("queued", [[], ["--queued"]])
def test_gcloud_that_always_fails_is_an_error(cloud, queued):
    cloud.hurry()
    if queued:
        (cloud.home / "queued").write_text("")
        last = "gcloud failed 20 times; TPU mine: ERROR: it is ill"
    else:
        (cloud.home / "mine").mkdir()
        (cloud.home / "faults").write_text("".join(f"describe {n} READY\n" for n in range(99)))
        last = "gcloud failed 20 times; TPU mine: no answer: "
    done = cloud(["exit 0"], "--create", *queued)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: {last}")


def test_a_request_that_fails_at_once_is_not_made_again_and_again(cloud):
    (cloud.home / "queue").touch()
    (cloud.home / "queued").write_text("FAILED\n")
    done = cloud(["exit 0"], "--create", "--queued")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: the queued resource mine has FAILED"
    assert [calls(cloud.home, verb) for verb in ("create", "delete")] == [1, 1]


def test_a_later_start_finds_all_that_it_needs_and_nothing_of_an_earlier_one(cloud):
    # Days later: the temporary files were tidied up, and a module of the project has moved.
    stale = '"$HOME"/sedd-music/sedd_jax/train'
    done = cloud([f'mkdir {stale}; rm -r "$TMPDIR"/*; exit 143', f"[ ! -e {stale} ]"], "--create")
    assert done.returncode == 0, done.stderr
    assert lives(cloud.home) == [2, 2]


def test_a_program_that_has_run_is_started_again_when_that_is_hard_for_a_while(cloud):
    cloud.hurry()
    (cloud.home / "faults").write_text("".join(f"scp {n} READY\n" for n in range(2, 7)))
    done = cloud(["exit 143", "exit 0"], "--create")
    assert done.returncode == 0, done.stderr
    assert calls(cloud.home, "scp") == 7


def test_an_error_of_a_machine_that_is_being_taken_away_is_no_mistake(cloud):
    cloud.write("tail", """
        #!/bin/sh
        [ "$*" != "-n 20 sedd-music/run/log" ] || echo PREEMPTED > "$CLOUD/mine/state"
        exec /usr/bin/tail "$@"
    """)  # fmt: skip
    done = cloud(["exit 1", "exit 0"], "--create")
    assert done.returncode == 0, done.stderr
    assert calls(cloud.home, "create") == 2 and lives(cloud.home) == [2, 2]


@pytest.mark.parametrize("left", ["READY", "MISSING"])
def test_a_tpu_that_cannot_be_deleted_at_once_is_deleted_later(cloud, left):
    (cloud.home / "faults").write_text(f"delete 1 {left}\n")
    done = cloud(["exit 0"], "--create", "--delete")
    assert done.returncode == 0, done.stderr
    assert not (cloud.home / "mine").exists()


def test_a_program_that_cannot_be_stopped_is_an_error(cloud):
    cloud.write("sleep", "#!/bin/sh\nexec /bin/sleep 0.01\n")
    script = '"$HOME"/sedd-music/launch/tpu_vm_worker.sh'
    hangs = f"echo echo status=running > {script}.new; mv {script}.new {script}"
    done = cloud([f"case $HOME in *worker-1) {hangs} ;; esac; exit 75"], "--create")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: the program on mine cannot be stopped"
