"""Processes of a sweep: order, failures, signals and the lock. The runs are shell commands."""

import errno
import fcntl
import os
import signal
import sys

import pytest

from launch.sweeping.jobs import last_error, last_line, run_here
from launch.sweeping.runs import SweepRun
from tests.programs import wait_until
from tests.sedd_jax.toy import start


class Shell:
    """A command whose runs are scripts by name; `after` is a second script for all of them."""

    def __init__(self, after: str | None = None, **scripts: str):
        self._after, self._scripts = after, scripts

    def line(self, run: SweepRun) -> list[str]:
        return ["bash", "-c", self._scripts[run.name], "script", str(run.directory)]

    def after(self, run: SweepRun) -> list[list[str]]:
        return [["bash", "-c", self._after]] if self._after else []

    def runs(self, directory) -> list[SweepRun]:
        return [SweepRun({}, None, directory / name) for name in self._scripts]


def run_all(shell: Shell, directory, num_jobs: int = 1, on_poll=lambda running: None):
    ended = []
    outcomes, stopped = run_here(shell.runs(directory), shell, num_jobs, on_poll, ended.append)
    assert ended == outcomes
    return {outcome.run.name: outcome.error for outcome in outcomes}, stopped


def test_a_failing_run_is_reported_by_its_own_error_and_stops_no_other(tmp_path):
    shell = Shell(
        good="echo done",
        refused="echo 'error: no such key'; echo; exit 1",
        crashed="echo 'KeyError: 3' >&2; exit 1",
        killed="kill -9 $$",
        silent="exit 4",
    )
    errors, stopped = run_all(shell, tmp_path)
    assert stopped is None
    assert errors == {
        "good": "", "refused": "no such key", "crashed": "KeyError: 3",
        "killed": "ended by SIGKILL", "silent": "exit code 4",
    }  # fmt: skip
    again, _ = run_all(Shell(refused="exit 3"), tmp_path)
    assert again == {"refused": "exit code 3"}  # not the error of the time before
    assert (tmp_path / "refused" / "sweep.log").read_text().count("$ bash") == 2


def test_no_more_than_so_many_run_at_a_time(tmp_path):
    """Three wait for each other, and none goes on before a look at how many there are."""
    wait = "for ((i = 0; i < 1000; i++)); do [ ! -e %s ] || exit 0; sleep 0.1; done; exit 1"
    most = 0

    def on_poll(running):
        nonlocal most
        most = max(most, len(running))
        if most == 3:
            (tmp_path / "go").touch()

    shell = Shell(**{name: wait % (tmp_path / "go") for name in "abcd"})
    errors, _ = run_all(shell, tmp_path, 3, on_poll)
    assert list(errors.values()) == [""] * 4 and most == 3


def test_what_follows_a_run_needs_its_success(tmp_path):
    shell = Shell(after="echo measured", good="echo sampled", bad="exit 1")
    errors, _ = run_all(shell, tmp_path)
    assert errors == {"good": "", "bad": "exit code 1"}
    assert (
        "sampled\n$ bash -c 'echo measured'\nmeasured\n"
        in (tmp_path / "good" / "sweep.log").read_text()
    )
    assert "measured" not in (tmp_path / "bad" / "sweep.log").read_text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_reaches_runs_once_and_starts_no_more(tmp_path, number):
    # A second signal while it saves would be noted, too.
    saving = 'trap \'echo saving >> "$1"/saved\' TERM; sleep 300 & touch "$1"/up; wait; '
    saving += "sleep 0.5; exit 143"
    shell = Shell(first=saving, second=saving, third=saving)
    sent = False

    def on_poll(running):
        nonlocal sent
        if not sent and len(list(tmp_path.glob("*/up"))) == 2:
            sent = True
            os.kill(os.getpid(), number)

    errors, stopped = run_all(shell, tmp_path, 2, on_poll)
    assert stopped == number
    assert errors == {"first": "ended by SIGTERM", "second": "ended by SIGTERM"}
    assert (tmp_path / "first" / "saved").read_text() == "saving\n"
    assert not (tmp_path / "third").exists()


ORPHAN = """
import sys
from pathlib import Path
from tests.launch.sweeping.test_jobs import Shell, run_all
run_all(Shell(only='echo $$ > "$1"/pid; exec sleep 300'), Path(sys.argv[1]))
"""


def test_a_run_that_outlives_its_sweep_is_not_started_again(tmp_path):
    pid_file = tmp_path / "only" / "pid"
    shell = Shell(only="echo again")
    with start([sys.executable, "-c", ORPHAN, str(tmp_path)]) as sweep:
        wait_until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), [sweep])
        sweep.kill()
    try:
        assert run_all(shell, tmp_path)[0] == {"only": "another process is running it"}
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)
    wait_until(lambda: run_all(shell, tmp_path)[0] == {"only": ""})


def test_a_disk_without_locks_is_worked_on(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    assert run_all(Shell(only="echo done"), tmp_path)[0] == {"only": ""}


def test_the_end_of_a_log_is_the_last_state_of_a_progress_bar(tmp_path):
    log = tmp_path / "sweep.log"
    assert last_line(log) == ""
    log.write_text("error: before\n" + "x" * 20_000 + "\n  10%|#\r  50%|#####\r\n")
    assert last_line(log) == "50%|#####"
    assert last_error(log, start=len("error: before\n")) == "50%|#####"
    with open(log, "a") as file:
        file.write("error: the disk is full\nbye\n")
    assert last_error(log) == "the disk is full"
