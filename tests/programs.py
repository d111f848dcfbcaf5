"""Programs that a test starts, waits for and never leaves behind."""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


class Program(subprocess.Popen):
    """A process in a session of its own; as a context manager, ends whoever is left in there.

    What it says goes to files, since a pipe that nobody reads would stop it when full.
    """

    def __init__(self, command: Sequence[str], *, env: dict[str, str], cwd: Path = ROOT):
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        out, err = self._files
        super().__init__(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True,
        )  # fmt: skip

    def said(self) -> tuple[str, str]:
        """The text that has gone to (stdout, stderr) so far."""
        # Not by read(), which would move the place where the process writes.
        sizes = [os.fstat(file.fileno()).st_size for file in self._files]
        out, err = (os.pread(f.fileno(), n, 0) for f, n in zip(self._files, sizes, strict=True))
        return out.decode(errors="replace"), err.decode(errors="replace")  # maybe cut in a letter

    def result(self, seconds: float = 900) -> subprocess.CompletedProcess:
        """Waits for its end; fails when that takes longer than `seconds`."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self.end()
            pytest.fail(f"did not end within {seconds} s:\n{_report([self])}")
        return subprocess.CompletedProcess(self.args, self.returncode, *self.said())

    def end(self) -> None:
        """Kills all that is left of its session."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.wait()

    def __exit__(self, *error) -> None:
        self.end()


def wait_until(
    condition: Callable[[], bool], programs: Sequence[Program] = (), seconds: float = 600
) -> None:
    """Waits for what the programs are to bring about.

    Fails, with what they said, when one of them ends before or `seconds` have passed; none of them
    lives on then.
    """
    deadline = time.monotonic() + seconds
    try:
        while not condition():
            ended = any([program.poll() is not None for program in programs])
            if ended and not condition():
                pytest.fail(f"ended before its time:\n{_report(programs)}")
            if time.monotonic() > deadline:
                pytest.fail(f"nothing came within {seconds} s:\n{_report(programs)}")
            time.sleep(0.02)
    except BaseException:
        for program in programs:
            program.end()
        raise


def _report(programs: Sequence[Program]) -> str:
    return "\n".join(
        f"{program.args} (exit code {program.returncode}):\n" + "\n".join(program.said())
        for program in programs
    )
