"""Traces of a few training steps, asked for by the config or by touching a file.

Process 0 traces its own devices, the others don't: all run the same program at the same pace, and
the files of several processes of a host would overwrite each other.
"""

import contextlib
import time
from pathlib import Path

import jax

from sedd_jax.errors import one_line

REQUEST_FILE = "PROFILE"
TRACE_DIR = "profile"
POLL_SECONDS = 1.0  # between looks for the file, which may be on a slow disk


class ProfilerWindow:
    """Writes traces of `num_steps` steps to workdir/profile.

    One starts after step `start_step`, if this life passes it (-1: never), and one whenever there
    is a file workdir/PROFILE, which is removed when the trace is done. What goes wrong is said by
    `switch` and does not stop the run.
    """

    def __init__(self, workdir: str | Path, start_step: int, num_steps: int, *, active: bool):
        self._directory = Path(workdir) / TRACE_DIR
        self._request = Path(workdir) / REQUEST_FILE
        self._start_step, self._num_steps = start_step, num_steps
        self._active = active
        self._stop_step: int | None = None  # of the trace that is being made
        self._next_look = 0.0

    def is_due(self, step: int) -> bool:
        """True when a trace is to start or to end now that `step` is done."""
        if not self._active:
            return False
        if self._stop_step is not None:
            return step >= self._stop_step
        return step == self._start_step or self._is_requested()

    def _is_requested(self) -> bool:
        if time.monotonic() < self._next_look:
            return False
        self._next_look = time.monotonic() + POLL_SECONDS
        return self._request.exists()

    def switch(self, step: int) -> str:
        """Starts a trace, or ends the one being made; returns what to tell the user.

        The steps before must have been computed, or they would be in the trace.
        """
        try:
            if self._stop_step is None:
                jax.profiler.start_trace(self._directory)
                self._stop_step = step + self._num_steps
                return f"step {step:,}: tracing {self._num_steps} steps"
            first = self._stop_step - self._num_steps + 1
            self._stop_step = None
            jax.profiler.stop_trace()
            return f"step {step:,}: trace of steps {first:,} to {step:,} in {self._directory}" + (
                self._remove_request()
            )
        except Exception as error:  # the profiler's own, of no narrower class
            return f"step {step:,}: no trace: {one_line(error)}" + self._remove_request()

    def _remove_request(self) -> str:
        try:
            self._request.unlink(missing_ok=True)
        except OSError as error:
            self._active = False  # or it would be traced for ever
            return f"; no more traces: {one_line(error)}"
        return ""

    def __enter__(self) -> "ProfilerWindow":
        return self

    def __exit__(self, *error) -> None:
        """Writes a trace that the end of the run cut short."""
        if self._stop_step is not None:
            self._stop_step = None
            with contextlib.suppress(Exception):
                jax.profiler.stop_trace()
            self._remove_request()
