"""launch/tpu_vm_worker.sh on a machine whose packages and mounts are files of the test."""

import os
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

# Another program has apt's lock at first. The file `mounted` names the bucket that is, and `dead`
# is there when its gcsfuse is no more.
PROGRAMS = {
    "sudo": """
        echo "$*" >> "$HOME/sudo"
        case "$*" in
          "apt-get install"*)
            [ "$(grep -c install "$HOME/sudo")" -gt 3 ] || exit 100
            mv "$HOME/bin/later" "$HOME/bin/gcsfuse" ;;
          "tee "*) cat > /dev/null ;;
          "mkdir "*) [ ! -e "$HOME/dead" ] ;;
          "umount --lazy /bucket") rm -f "$HOME/mounted" "$HOME/dead" ;;
        esac
    """,
    "later": """
        [ ! -e "$HOME/mounted" ] || { echo "error: mounted already" >&2; exit 1; }
        echo "${*: -2}" > "$HOME/mounted"
    """,
    "mountpoint": """[ -e "$HOME/mounted" ] && [ ! -e "$HOME/dead" ]""",
    **dict.fromkeys(["curl", "lsb_release", "python3", "sleep", "uv"], ""),
}


@pytest.fixture
def worker(tmp_path):
    """Runs a command of the script on that machine; returns what it printed."""
    for folder in ("launch", "bin"):
        (tmp_path / folder).mkdir()
    for name in ("tpu_vm_worker.sh", "usage.sh"):
        shutil.copy(PROJECT / "launch" / name, tmp_path / "launch")
    (tmp_path / "requirements.txt").write_text("jax==0\n")

    def run(*words: str) -> str:
        command = ["bash", tmp_path / "launch/tpu_vm_worker.sh", *words]
        env = os.environ | {"HOME": str(tmp_path)}
        if words[0] == "setup":
            env["PATH"] = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            command, env=env, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    for name, does in PROGRAMS.items():
        (tmp_path / "bin" / name).write_text("#!/usr/bin/env bash\n" + textwrap.dedent(does))
        (tmp_path / "bin" / name).chmod(0o755)
    return run


def test_a_worker_that_was_restarted_takes_no_other_program_for_its_own(worker, tmp_path):
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as other:
        (tmp_path / "run").mkdir()
        files = {"key": "mine", "boot": "the one before", "pid": str(other.pid)}
        for name, content in files.items():
            (tmp_path / "run" / name).write_text(f"{content}\n")
        try:
            assert worker("status", "mine") == "status=137\n"
            assert worker("stop") == "" and other.poll() is None
            worker("start", "mine", "sleep", "599")
            assert worker("status", "mine") == "status=running\n"
            worker("stop")
        finally:
            other.kill()


def test_a_new_machine_gets_gcsfuse_when_its_own_updates_are_done(worker, tmp_path):
    worker("setup", "mine")
    assert (tmp_path / "mounted").read_text() == "mine /bucket\n"
    mounting = (tmp_path / "sudo").read_text()
    worker("setup", "mine")
    assert (tmp_path / "sudo").read_text() == mounting


def test_a_bucket_that_is_gone_or_another_is_mounted_anew(worker, tmp_path):
    worker("setup", "mine")
    (tmp_path / "dead").touch()
    worker("setup", "mine")
    assert not (tmp_path / "dead").exists()
    worker("setup", "other")
    assert (tmp_path / "mounted").read_text() == "other /bucket\n"
