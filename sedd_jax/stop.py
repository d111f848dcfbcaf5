"""The wish to stop a run, noted when it comes and heard between two steps."""

import signal


class StopRequest:
    """Notes SIGTERM and Ctrl-C, to be acted on between steps; a second Ctrl-C acts as usual.

    signal_number: of what was noted, else 0.
    """

    def __enter__(self) -> "StopRequest":
        self.signal_number = 0
        self._usual = {n: signal.signal(n, self._note) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _note(self, signal_number: int, frame) -> None:
        self.signal_number = signal_number
        signal.signal(signal.SIGINT, self._usual[signal.SIGINT])

    def __exit__(self, *error) -> None:
        for number, handler in self._usual.items():
            signal.signal(number, handler)
