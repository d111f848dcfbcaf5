"""Stopping a run between two steps, on a signal, all processes at the same step."""

import signal


class StopRequest:
    """Notes the first SIGTERM or Ctrl-C, to be acted on between steps; the next acts as usual."""

    def __enter__(self) -> "StopRequest":
        self.signal_number: int | None = None
        self._usual = {n: signal.signal(n, self._note) for n in (signal.SIGTERM, signal.SIGINT)}
        return self

    def _note(self, signal_number: int, frame) -> None:
        self.signal_number = signal_number
        self.__exit__()

    def __exit__(self, *error) -> None:
        for number, handler in self._usual.items():
            # None: one that was installed outside of Python and cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
