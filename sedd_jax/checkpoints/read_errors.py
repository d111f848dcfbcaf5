"""Whether a read failed because of the file or because of what lies between it and the program."""

import re

import jax

from sedd_jax.errors import chain, one_line
from tokenizer_bridge.token_dataset.errors import is_out_of_memory

# Of TensorStore's errors, those that speak of the system; NOT_FOUND, DATA_LOSS, OUT_OF_RANGE and
# FAILED_PRECONDITION (what does not decode) speak of the file.
_STATUS = re.compile(
    "(CANCELLED|UNKNOWN|DEADLINE_EXCEEDED|PERMISSION_DENIED|RESOURCE_EXHAUSTED|ABORTED|INTERNAL"
    "|UNAVAILABLE|UNAUTHENTICATED): "
)
_OF_THE_FILE = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


def obstacle(error: BaseException) -> BaseException | None:
    """Of an error and its causes, the one that leaves open whether the file is whole.

    Too little memory, too many open files, no permission, a disk or a device that failed. None
    when they all speak of the file: it is missing, cut short, or does not decode.
    """
    return next((cause for cause in chain(error) if _is_obstacle(cause)), None)


def _is_obstacle(error: BaseException) -> bool:
    if isinstance(error, OSError):
        return not isinstance(error, _OF_THE_FILE)
    if isinstance(error, jax.errors.JaxRuntimeError) or is_out_of_memory(error):
        return True
    return _STATUS.match(str(error)) is not None


def describe(obstacle: BaseException, place: object) -> str:
    """What stood in the way of reading `place`, on one line."""
    if is_out_of_memory(obstacle):
        return (
            f"not enough memory to read {place}: {one_line(obstacle)}; more devices, or a larger "
            "config.mesh.fsdp, leave each a smaller part"
        )
    text = one_line(obstacle)
    if isinstance(obstacle, ValueError):  # TensorStore: a long way of paths, and its end counts
        status, _, way = str(obstacle).partition(" [")[0].partition(": ")
        text = f"{status}: {way.rpartition(': ')[2]}"
    return f"{place} cannot be read: {text}"
