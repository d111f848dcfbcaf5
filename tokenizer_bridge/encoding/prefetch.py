"""Work done ahead of its use, in threads."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator


class Prefetcher:
    """Iterates over what `read` yields for each item, ahead of use, in several threads.

    What belongs to one item stays in order. `capacity` messages are held at most. An error in a
    reader is raised where the messages are used; leaving the `with` block stops the readers.
    """

    def __init__(self, items: Iterable, read: Callable, num_threads: int, capacity: int):
        self._items, self._items_lock = iter(items), threading.Lock()
        self._read = read
        self._messages = queue.Queue(capacity)
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, daemon=True) for _ in range(num_threads)
        ]

    def __enter__(self) -> Iterator:
        for thread in self._threads:
            thread.start()
        return self._receive()

    def __exit__(self, *error) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _receive(self) -> Iterator:
        running = len(self._threads)
        while running:
            message = self._messages.get()
            if message is None:
                running -= 1
            elif isinstance(message, BaseException):
                raise message
            else:
                yield message

    def _run(self) -> None:
        try:
            while not self._stopped.is_set():
                with self._items_lock:
                    item = next(self._items)
                for message in self._read(item):
                    self._send(message)
        except StopIteration:
            self._send(None)
        except BaseException as error:
            self._send(error)

    def _send(self, message) -> None:
        while not self._stopped.is_set():
            try:
                return self._messages.put(message, timeout=0.1)
            except queue.Full:
                continue
