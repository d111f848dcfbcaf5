"""The saves of a run's state, and what happens when one fails.

A failed save is reported at once and another one tried after a while, of the state as it is then;
training goes on meanwhile. After config.checkpoint.retries of them in a row the run ends with an
error: a run that cannot save must not go on as if it could. Several processes end at once where a
save cannot even start at one of them, and leave the next attempt to the launcher.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
from absl import logging

from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.meta import Meta
from sedd_jax.errors import RestartNeeded, UserError
from sedd_jax.parallel.consensus import any_process
from sedd_jax.state import TrainState


class SaveStatus(NamedTuple):
    """The state of a process's saves, 1 or 0 each; of a job, the largest over its processes."""

    is_under_way: int
    has_failed: int  # the last one
    is_retry_due: int


class Saver:
    """Saves to `checkpoints` in the background. retry_wait: seconds, doubled with every failure.

    on_saved: called in the background when a checkpoint is whole, and what it raises is a failure
    of the save. is_stopping: once it says so, attempts no longer wait for each other.

    All processes must call `save` and `finish` alike, hence `is_time` with what they agreed on.
    """

    def __init__(
        self,
        checkpoints: Checkpoints,
        *,
        retries: int,
        retry_wait: float,
        on_saved: Callable[[], None] | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
    ):
        self._checkpoints = checkpoints
        self._retries, self._retry_wait = retries, retry_wait
        self._on_saved, self._is_stopping = on_saved, is_stopping
        self._num_failures = 0  # in a row, on any process
        self._waiter: threading.Thread | None = None  # for the save that is under way
        self._error: UserError | None = None  # of the last save, here
        self._reported = False
        self._retry_at = 0.0
        self._status_is_old = False

    def status(self) -> SaveStatus:
        """The state of this process's saves. A failure that has happened since is reported."""
        under_way = self._waiter is not None and self._waiter.is_alive()
        failed = self._error is not None
        if failed and not self._reported:
            self._report()
        is_retry_due = failed and time.monotonic() >= self._retry_at
        return SaveStatus(int(under_way), int(failed), int(is_retry_due))

    def is_time(self, status: SaveStatus, is_due: bool) -> bool:
        """True when a save is to start now. status: of the job; is_due: by the config."""
        old, self._status_is_old = self._status_is_old, False  # from before the last attempt
        if status.has_failed and not old:
            return bool(status.is_retry_due) and not status.is_under_way
        return is_due

    def save(self, state: TrainState, meta: Meta) -> None:
        """Starts a save, once the one before has come to its end.

        Raises UserError when too many have failed in a row, and RestartNeeded for a save that
        could not start at one of several processes: the others are in it, and would wait in vain.
        """
        self._settle()
        self._status_is_old = True
        if not self._checkpoints.has(meta.step):
            try:
                self._checkpoints.save(state, meta)
            except UserError as error:
                if jax.process_count() > 1:
                    raise RestartNeeded(str(error)) from error
                self._error = error
                return
        elif self._on_saved is None:
            return
        self._waiter = threading.Thread(target=self._wait, name="save", daemon=True)
        self._waiter.start()

    def finish(self, state: TrainState, meta: Meta) -> None:
        """Returns when this state is saved; sleeps between attempts. Raises UserError as `save`."""
        self.save(state, meta)
        while not self._settle():
            while time.monotonic() < self._retry_at and not self._is_stopping():
                time.sleep(min(0.2, max(0.0, self._retry_at - time.monotonic())))
            self.save(state, meta)

    def _wait(self) -> None:
        try:
            self._checkpoints.wait()
            if self._on_saved is not None:
                self._on_saved()
        except UserError as error:
            self._error = error

    def _settle(self) -> bool:
        """Waits for the save under way; True when it went well on all processes."""
        was_under_way = self._waiter is not None
        if self._waiter is not None:
            self._waiter.join()
            self._waiter = None
        if not any_process(self._error is not None):
            self._num_failures = 0 if was_under_way else self._num_failures
            return True
        if not self._reported:
            self._report()
        error, self._error, self._reported = self._error, None, False
        self._num_failures += 1
        if self._num_failures > self._retries:
            raise error or UserError("another process could not save its part of a checkpoint")
        self._checkpoints.reopen()
        return False

    def _report(self) -> None:
        left = self._retries - self._num_failures
        wait_s = self._retry_wait * 2**self._num_failures if left else 0.0
        self._retry_at = time.monotonic() + wait_s
        self._reported = True
        then = f"next attempt in {wait_s:g} s, {left} left" if left else "giving up"
        logging.warning("%s; %s", self._error or "another process could not save its part", then)
