"""Decoders' notes to a process' stderr, kept out of it.

libmpg123, which reads MP3s for libsndfile, notes there what it passes over: in the middle of a
progress bar, and about files of which the reader says by itself what is wrong with them.
"""

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator

_STDERR = 2
_NOTE = re.compile(
    rb"(Note: |Warning: (Xing|Encountered more|Real sample|Cannot)|\[[^\]]*libmpg123[^\]]*\] )"
)


@contextlib.contextmanager
def without_decoder_notes() -> Iterator[None]:
    """Drops libmpg123's notes of this process and of those that it starts; other lines pass.

    Python's own stderr goes straight to where it went before, if that is the process'.
    """
    original = os.dup(_STDERR)
    reading, writing = os.pipe()
    os.dup2(writing, _STDERR)
    os.close(writing)
    own, direct = sys.stderr, None
    with contextlib.suppress(OSError, ValueError, AttributeError):  # no file, or a closed one
        if own.fileno() == _STDERR:
            own.flush()
            direct = open(  # noqa: SIM115 (closed below)
                original, "w", encoding=own.encoding, errors=own.errors, buffering=1, closefd=False
            )
            sys.stderr = direct
    thread = threading.Thread(target=_pass_on, args=(reading, original), daemon=True)
    thread.start()
    try:
        yield
    finally:
        if direct is not None:
            direct.flush()
            sys.stderr = own
        os.dup2(original, _STDERR)  # closes the pipe's end, where no child holds another
        thread.join(timeout=1.0)
        if not thread.is_alive():
            os.close(original)


def _pass_on(reading: int, original: int) -> None:
    """Copies lines that are no notes, until nothing can write any more."""
    with os.fdopen(reading, "rb") as lines:
        for line in lines:
            if not _NOTE.match(line):
                os.write(original, line)
