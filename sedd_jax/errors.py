"""Mistakes of the user's, and how a door reports them: one line on stderr, exit code 1."""

import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator

import absl
import ml_collections
from absl import app, flags

from tokenizer_bridge.token_dataset import errors as records_errors

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: "the user is invited to retry"


class UserError(Exception):
    """A mistake of the user's; its text is the one line that the door prints."""


class RestartNeeded(Exception):
    """What a new start of all processes mends; its text is the one line that the door prints."""


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception's text on one line, of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that caused it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__


def _parse_flags(argv: list[str]) -> list[str]:
    """absl's flags, ml_collections' overrides included; every refusal becomes a UserError."""
    try:
        rest = flags.FLAGS(argv)
        for name in flags.FLAGS:  # ml_collections keeps a missing file's error until it is used
            hasattr(flags.FLAGS[name].value, "items")
    except Exception as error:  # a config file is run here, and may raise anything
        raise UserError(_refusal(error)) from error
    if len(rest) > 1:
        raise UserError(f"unexpected argument {rest[1]!r}: flags are written --name=value")
    records_errors.check_flags()
    return rest


def _refusal(error: Exception) -> str:
    """What is wrong with the flags, on one line."""
    libraries = tuple(os.path.dirname(module.__file__) for module in (absl, ml_collections, os))
    for frame in traceback.extract_tb(error.__traceback__)[1:]:
        if not frame.filename.startswith(("<frozen", *libraries)):  # then it is the config file
            what = f"{type(error).__name__}: {one_line(error)}"
            return f"{frame.filename}, line {frame.lineno}: {what}"
    if "has no attribute 'get_config'" in str(error):
        return "--config: the file has no get_config(), as configs/music_small.py has one"
    if "must have a value other than None" in str(error):
        return records_errors.refused_flags(error)
    if isinstance(error, AttributeError | KeyError):  # ml_collections: an override of no known key
        name = re.search(r"\w+", str(error))
        like = re.search(r'Did you mean "(\w+)"', str(error))
        hint = f"; did you mean {like[1]}?" if like else ""
        return f"unknown config key {name[0] if name else ''}{hint}"
    text = str(error)
    if "Traceback (" in text:  # ml_collections quotes a TypeError of the config file in full
        text = text.partition("Traceback (")[0] + text.strip().splitlines()[-1]
    return one_line(UserError(text.rpartition("failure to load: ")[2]))


def explain(error: BaseException) -> tuple[int, str] | None:
    """Exit code and line of an error that the user can do something about; None for any other.

    A refusal of the token dataset's own, a full disk, too little memory and a file or directory
    that cannot be used count as mistakes of the user's.
    """
    if isinstance(error, UserError | records_errors.UserError):
        return 1, str(error)
    if isinstance(error, RestartNeeded):
        return TRY_AGAIN, str(error)
    if isinstance(error, OSError | RuntimeError | MemoryError):
        if records_errors.is_disk_full(error):
            return 1, f"nothing more can be written: {one_line(error)}"
        if records_errors.is_out_of_memory(error):
            return 1, f"not enough memory: {one_line(error)}"
        if getattr(error, "filename", None):
            return 1, f"{error.filename2 or error.filename}: {error.strerror}"
    if isinstance(error, KeyboardInterrupt):
        return 130, "stopped by Ctrl-C"
    return None


def run_door(main: Callable[[list[str]], int | None]) -> None:
    """absl's app.run around main: UserError → `error: …` on stderr, exit 1; Ctrl-C → exit 130."""
    # Under absl it would tell of every accelerator that is not there.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    try:
        app.run(main, flags_parser=_parse_flags)
    except SystemExit:
        if records_errors.asks_for_help():
            sys.exit(0)
        raise
    except (Exception, KeyboardInterrupt) as error:
        explained = explain(error)
        if explained is None:
            raise
        code, line = explained
        if not isinstance(error, KeyboardInterrupt):
            print(f"error: {line}", file=sys.stderr)
        sys.exit(code)
