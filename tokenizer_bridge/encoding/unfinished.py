"""The directory of the logs of an unfinished encoding, which several processes share and one ends.

It goes in one piece: under its lock it is set aside, so that what is made in its place afterwards
is another's, and then removed.
"""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizer_bridge.encoding.progress_log import SETTINGS_FILE
from tokenizer_bridge.token_dataset.errors import UserError

_SET_ASIDE = ".unfinished-*.partial"


class Ended(FileNotFoundError):
    """The directory has gone: another process has ended the job."""


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Holds a lock that dies with the process; waits for it if need be. Raises Ended, UserError."""
    path = directory / "assemble.lock"
    ended = Ended(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    try:
        file = open(path, "w")
    except FileNotFoundError:
        raise ended from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(
                f"{path} cannot be locked ({error.strerror}), and workers that assemble at once "
                "would be in each other's way: choose a directory on another disk"
            ) from error
        try:  # it may be of a directory that was set aside while this one waited
            is_current = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            is_current = False
        if not is_current:
            raise ended
        yield


def set_aside(directory: Path) -> None:
    """Takes a locked directory away at once; `remove_set_aside` removes it."""
    directory.rename(directory.with_name(_SET_ASIDE.replace("*", uuid.uuid4().hex)))


def remove_set_aside(directory: Path) -> None:
    """Removes what was set aside of a directory, by a process that was killed, too.

    The lock must be let go: a network's disk removes no folder of which a file is open.
    """
    for folder in directory.parent.glob(_SET_ASIDE):
        shutil.rmtree(folder, ignore_errors=True)  # another process may do the same


def discard(directory: Path, settings: Mapping[str, Any]) -> None:
    """Removes the directory, beside a whole dataset of these settings: its maker was killed.

    It stays where a dataset with more tracks is being made.
    """

    def is_of_these_settings() -> bool:
        try:
            return json.loads((directory / SETTINGS_FILE).read_text("utf-8")) == settings
        except FileNotFoundError:
            return True
        except ValueError:
            return False

    with contextlib.suppress(OSError, UserError):
        if is_of_these_settings():
            with locked(directory):
                if is_of_these_settings():
                    set_aside(directory)
    remove_set_aside(directory)
