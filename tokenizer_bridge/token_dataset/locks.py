"""Folders that one process at a time may work in."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from tokenizer_bridge.token_dataset.errors import UserError

PATIENCE_S = 60.0
_LOOK_S = 0.2


@contextlib.contextmanager
def alone_in(folder: Path, otherwise: str, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Holds a folder, made if missing, against others that do so; an empty one that is new goes.

    Where the disk knows no locks it holds nothing, and on a network's disk perhaps nothing against
    other machines. patience_s: how long another process may take to come to its end; otherwise:
    what the UserError says if it does not.
    """
    is_new = not folder.exists()
    descriptor = _hold(folder, otherwise, time.monotonic() + patience_s)
    try:
        yield
    finally:
        if is_new:
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()
        os.close(descriptor)


def _hold(folder: Path, otherwise: str, deadline: float) -> int:
    """The descriptor of a folder that is locked as long as it is open."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as opened, contextlib.suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            opened.callback(os.close, descriptor)
            wait_for_lock(descriptor, otherwise, deadline)
            # The one before may have removed it.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                opened.pop_all()
                return descriptor


def wait_for_lock(descriptor: int, otherwise: str, deadline: float) -> None:
    """Locks as `lock`. Raises UserError of this text at the deadline, by time.monotonic."""
    while not lock(descriptor):
        if time.monotonic() >= deadline:
            raise UserError(otherwise)
        time.sleep(_LOOK_S)


def lock(descriptor: int) -> bool:
    """Locks a file or folder until it is closed here; False where another process has done so.

    True where the disk knows no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
