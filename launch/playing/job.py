"""Work in a thread of its own, whose progress can be followed and which can be cancelled."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Report:
    """A report on work. share: what is done of it, in [0, 1], None where that is not known."""

    text: str
    share: float | None = None


class Cancelled(Exception):
    """The work was given up, as was asked for."""


class Job(Generic[T]):
    """Work that has been started: a function that is given another, to report with.

    Reporting raises Cancelled once the job is cancelled, so that work that reports often ends soon.
    """

    def __init__(self, work: Callable[[Callable[[Report], None]], T]):
        self._reports: queue.SimpleQueue[Report | None] = queue.SimpleQueue()
        self._is_cancelled = threading.Event()
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def reports(self) -> Iterator[Report]:
        """The reports as they come, until the work is done. Of a heap the newest alone."""
        is_done = False
        while not is_done and (report := self._reports.get()) is not None:
            while not is_done and not self._reports.empty():
                newer = self._reports.get()
                is_done = newer is None
                report = newer or report
            yield report

    def cancel(self) -> None:
        """Asks the work to end; it does when it next reports. Does nothing once it has ended."""
        self._is_cancelled.set()

    def abandon(self, then: Callable[[Sequence[T]], None]) -> None:
        """Cancels the work. then: called once it has ended, with the result if it has one."""

        def see_to_it() -> None:
            self.wait()
            then(self._result)

        self.cancel()
        threading.Thread(target=see_to_it, daemon=True).start()

    def wait(self) -> None:
        """Waits until the work has ended, however it does."""
        self._thread.join()

    def result(self) -> T:
        """The result of the work; waits for it. Raises what the work has raised."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _report(self, report: Report) -> None:
        if self._is_cancelled.is_set():
            raise Cancelled
        self._reports.put(report)

    def _run(self, work: Callable[[Callable[[Report], None]], T]) -> None:
        try:
            self._result.append(work(self._report))
        except BaseException as error:  # raised again where the result is asked for
            self._error = error
        finally:
            self._reports.put(None)
