"""Tells reads that failed because of the files from those that failed on the way to them.

Orbax and TensorStore tell the two apart in the wording of their messages alone, so that the types
of the errors are looked at here, and then the files themselves.
"""

import os
import traceback
from pathlib import Path

import jax

from sedd_jax.errors import chain, one_line
from tokenizer_bridge.token_dataset.errors import is_out_of_memory

_OF_THE_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
_CHUNK = 2**24  # bytes


def obstacle(error: BaseException, where: Path) -> BaseException | None:
    """The error that made a read fail without any damage to the files below `where`, or None.

    It is one of the error and its causes, or met when the files are read again as mere bytes:
    too little memory, too many open files, no permission, a disk or a device that failed. None
    when nothing stands in the way: a file is missing, cut short, or does not decode.
    """
    found = next((cause for cause in chain(error) if _is_obstacle(cause)), None)
    return found or _unreadable(where)


def _is_obstacle(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return not isinstance(error, _OF_THE_FILE)
    return isinstance(error, jax.errors.JaxRuntimeError) or is_out_of_memory(error)


def _unreadable(where: Path) -> OSError | None:
    """The first error with which a file or folder that is there cannot be read to its end."""
    errors: list[OSError] = []
    for folder, _, names in os.walk(where, onerror=errors.append):
        for name in names:
            try:
                with open(Path(folder, name), "rb", buffering=0) as file:
                    while file.read(_CHUNK):
                        pass
            except OSError as error:
                errors.append(error)
    return next((error for error in errors if _is_obstacle(error)), None)


def release(error: BaseException) -> None:
    """Lets go of what the failed calls hold: arrays that would be in the way of another read."""
    for cause in chain(error):
        traceback.clear_frames(cause.__traceback__)


def describe(obstacle: BaseException, place: object) -> str:
    """One line that says what stood in the way of reading `place`."""
    if is_out_of_memory(obstacle):
        return (
            f"not enough memory to read {place}: {one_line(obstacle)}; more devices, or a larger "
            "config.mesh.fsdp, leave each a smaller part"
        )
    return f"{place} cannot be read: {one_line(obstacle)}"
