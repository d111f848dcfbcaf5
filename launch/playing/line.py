"""The line in front of a model: those who come at once are served one after the other."""

import contextlib
import threading
from collections.abc import Callable, Iterator

_LOOK_S = 0.2  # how often one who waits is asked whether to go on waiting


class Line:
    """First come, first served, from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[object] = []

    @contextlib.contextmanager
    def turn(self, on_wait: Callable[[int], None]) -> Iterator[None]:
        """Waits for one's turn, and has it inside the block.

        on_wait: called now and then with how many come before; what it raises ends the waiting.
        """
        place = object()
        with self._changed:
            self._waiting.append(place)
        try:
            while before := self._before(place):
                on_wait(before)
            yield
        finally:
            with self._changed:
                self._waiting.remove(place)
                self._changed.notify_all()

    def _before(self, place: object) -> int:
        """The number that come before, once somebody has moved or some time has passed."""
        with self._changed:
            if before := self._waiting.index(place):
                self._changed.wait(_LOOK_S)
                before = self._waiting.index(place)
            return before
