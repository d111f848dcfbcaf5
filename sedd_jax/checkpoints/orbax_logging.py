"""Orbax without its pages of traceback about errors that it also raises."""

import logging as std_logging
import sys

from absl import logging


def _not_of_orbax(record: std_logging.LogRecord) -> bool:
    return "orbax" not in record.pathname


def _not_of_its_tasks(record: std_logging.LogRecord) -> bool:
    """False for asyncio's reports of failed tasks of Orbax that nobody awaited.

    Such a task may also be a read or write of TensorStore that Orbax had begun.
    """
    message = record.getMessage()
    return "orbax" not in message and "tensorstore" not in message


def quiet_orbax() -> None:
    """Silences pages of traceback about errors that Orbax also raises.

    They are its log, and what is left of the other reads or writes when one has failed.
    """
    logging.get_absl_logger().addFilter(_not_of_orbax)
    std_logging.getLogger("asyncio").addFilter(_not_of_its_tasks)
    usual = sys.unraisablehook
    if getattr(usual, "quiets_orbax", False):
        return

    def hook(unraisable) -> None:
        code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
        dropped = code is not None and "orbax" in code.co_filename
        if not dropped and str(unraisable.exc_value) != "Event loop is closed":
            usual(unraisable)

    hook.quiets_orbax = True
    sys.unraisablehook = hook
