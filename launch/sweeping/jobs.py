"""Runs of a sweep as processes of this machine, some at a time."""

import collections
import dataclasses
import os
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from launch.sweeping.runs import Command, SweepRun
from sedd_jax.stop import StopRequest
from tokenizer_bridge.token_dataset.locks import lock

POLL_S = 0.1
TAIL_BYTES = 8192
PROMPT = "$ "  # how the line of a log begins that names the command


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The end of a run. error: empty when all its commands did what they should."""

    run: SweepRun
    error: str
    seconds: float


class _Job:
    """A run's commands, one after the other, in a process group of their own.

    The open log, which every process of the run inherits, holds a lock on the log: as long as one
    of them lives, another sweep over the same directory cannot start the run a second time, unless
    the disk knows no locks. Raises BlockingIOError when it is running already.
    """

    def __init__(self, run: SweepRun, commands: Sequence[Sequence[str]]):
        run.directory.mkdir(parents=True, exist_ok=True)
        self.run = run
        self._commands = collections.deque(commands)
        self._start = time.monotonic()
        self._log = open(run.log, "ab")
        if not lock(self._log.fileno()):
            self._log.close()
            raise BlockingIOError
        self._log_start = self._log.tell()
        self._next()

    def _next(self) -> None:
        command = self._commands.popleft()
        self._log.write(f"{PROMPT}{shlex.join(command)}\n".encode())
        self._log.flush()
        # Ctrl-C reaches a whole process group, and a run must get one signal, not two.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def poll(self) -> Outcome | None:
        """The outcome, once there is one."""
        code = self._process.poll()
        if code is None:
            return None
        if code == 0 and self._commands:
            self._next()
            return None
        self._log.close()
        error = "" if code == 0 else _describe(code, last_error(self.run.log, self._log_start))
        return Outcome(self.run, error, time.monotonic() - self._start)

    def signal(self, number: int) -> None:
        self._commands.clear()
        # Gone in the meantime: `poll` will see it.
        if self._process.poll() is None:
            os.killpg(self._process.pid, number)


def _describe(code: int, line: str) -> str:
    number = -code if code < 0 else code - 128
    if number in set(signal.Signals):
        return f"ended by {signal.Signals(number).name}"
    return line or f"exit code {code}"


def run_here(
    runs: Sequence[SweepRun],
    command: Command,
    num_jobs: int,
    on_poll: Callable[[Sequence[SweepRun]], None],
    on_end: Callable[[Outcome], None],
) -> tuple[list[Outcome], int | None]:
    """Runs all, `num_jobs` at a time; one that fails does not stop the others.

    Args:
      on_poll: called several times a second with the runs under way.
      on_end: called with each outcome.

    Returns (the outcomes in order of ending, the signal that stopped it or None). At the first
    SIGTERM or Ctrl-C no run is started any more and those under way get SIGTERM, on which they
    save; a second Ctrl-C kills them.
    """
    waiting, running = collections.deque(runs), []
    outcomes: list[Outcome] = []

    def end(outcome: Outcome) -> None:
        outcomes.append(outcome)
        on_end(outcome)

    stopping = False
    with StopRequest() as stop:
        try:
            while waiting or running:
                if stop.signal_number and not stopping:
                    stopping = True
                    waiting.clear()
                    for job in running:
                        job.signal(signal.SIGTERM)
                while waiting and len(running) < num_jobs:
                    run = waiting.popleft()
                    try:
                        running.append(_Job(run, [command.line(run), *command.after(run)]))
                    except BlockingIOError:
                        end(Outcome(run, "another process is running it", 0.0))
                for job in list(running):
                    if outcome := job.poll():
                        running.remove(job)
                        end(outcome)
                on_poll([job.run for job in running])
                time.sleep(POLL_S)
        except BaseException:
            for job in running:
                job.signal(signal.SIGKILL)
            raise
    return outcomes, stop.signal_number or None


def last_line(log: Path, start: int = 0) -> str:
    """The last line of a log from byte `start` on; of a progress bar, its last state."""
    lines = _lines(log, start)
    return lines[-1] if lines else ""


def last_error(log: Path, start: int = 0) -> str:
    """The last `error: …` line from byte `start` on, without that word, or the last line."""
    lines = _lines(log, start)
    errors = [line for line in lines if line.startswith("error: ")]
    return errors[-1].removeprefix("error: ") if errors else (lines[-1] if lines else "")


def _lines(log: Path, start: int) -> list[str]:
    if not log.exists():
        return []
    with open(log, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(max(start, end - TAIL_BYTES))
        text = file.read().decode(errors="replace")
    lines = [line.strip() for line in re.split(r"[\r\n]", text)]
    return [line for line in lines if line and not line.startswith(PROMPT)]
