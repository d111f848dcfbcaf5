"""What every door here does with a mistake of the user: one clear line and exit code 1."""

import errno
import io
import math
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence

from absl import app, flags

# EFBIG is what a file-size limit (`ulimit -f`) gives where a disk would give ENOSPC.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Explained(Exception):
    """An error of one line, which a command prints before it exits with `exit_code`."""

    exit_code = 1


class UserError(Explained):
    """A mistake of the user's. Its text says what is wrong, and names the file or the value."""


class Terminated(BaseException):
    """SIGTERM, as an exception, so that what is half written is removed on the way out."""


def is_disk_full(error: BaseException) -> bool:
    """Whether an error means that no more can be written (disk, quota or file-size limit).

    ArrayRecord's C++ writer raises RuntimeError with the system's text instead of an OSError.
    """
    if isinstance(error, OSError):
        return error.errno in _NO_SPACE
    texts = ("No space left on device", "Disk quota exceeded", "File too large")
    return isinstance(error, RuntimeError) and any(text in str(error) for text in texts)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of NumPy, PyTorch or XLA means that memory does not suffice."""
    texts = ("can't allocate memory", "out of memory", "RESOURCE_EXHAUSTED")
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in texts)
    )


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception's text on one line, of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def explain(error: BaseException) -> tuple[int, str] | None:
    """Exit code and line of an error that the user can do something about; None for any other.

    A full disk, too little memory and a file or directory that cannot be used count as mistakes of
    the user's.
    """
    if isinstance(error, Explained):
        return error.exit_code, str(error)
    if is_disk_full(error):
        return 1, f"nothing more can be written: {one_line(error)}"
    if is_out_of_memory(error):
        return 1, f"not enough memory: {one_line(error)}"
    if isinstance(error, OSError) and error.filename:
        return 1, f"{error.filename2 or error.filename}: {error.strerror}"
    return None


def asks_for_help() -> bool:
    """Whether the flags ask what flags there are: absl answers that, and exits with 1."""
    return bool({"--help", "-help", "--helpshort", "--helpfull", "-?"} & set(sys.argv[1:]))


def check_flags() -> None:
    """Refuse what absl lets pass: text that is empty and numbers that are not finite.

    An empty path would mean the current directory; a NaN is neither below nor above any bound.
    Raises UserError naming the flag.
    """
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.present and flag.value == "":
            raise UserError(f"--{name} is empty")
        if isinstance(flag.value, float) and not math.isfinite(flag.value):
            raise UserError(f"--{name}={flag.value}: a finite number is needed")


def _raise_at_sigterm() -> None:
    """Makes the first SIGTERM raise Terminated in this process; a second one kills it as usual."""
    door = os.getpid()

    def stop(number: int, frame) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != door:  # a fork
            os.kill(os.getpid(), number)
        else:
            raise Terminated

    signal.signal(signal.SIGTERM, stop)


def refused_flags(error: flags.Error) -> str:
    """What absl says of flags, on one line."""
    required = re.findall(r"Flag (--\w+) must have a value other than None", str(error))
    if required:
        return f"{' and '.join(required)} {'is' if len(required) == 1 else 'are'} required"
    return " ".join(str(error).split())


def _parse_flags(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        raise UserError(refused_flags(error)) from error


def run_door(main: Callable[[list[str]], int | None], positionals: Sequence[str] = ()) -> None:
    """Run `main` under absl; a UserError is one line on stderr and exit code 1.

    So are a full disk, too little memory and a file or directory that cannot be used. An interrupt
    (Ctrl-C) exits with 130, SIGTERM with 143, both after what is half written has been removed.
    positionals: names of the arguments that are no flags; `main` gets exactly so many behind the
    program's name. Others are refused.
    """

    for stream in (sys.stdout, sys.stderr):  # a terminal may lack letters; that is no error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def guarded(argv: list[str]) -> int:
        try:
            if len(argv) <= len(positionals):
                raise UserError(
                    f"{positionals[len(argv) - 1]} is missing: it is given without a flag"
                )
            if len(argv) > 1 + len(positionals):
                unexpected = argv[1 + len(positionals)]
                raise UserError(
                    f"unexpected argument {unexpected!r}: flags are written --name=value"
                )
            check_flags()
            _raise_at_sigterm()
            return main(argv) or 0
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 128 + signal.SIGINT
        except Terminated:
            print("terminated", file=sys.stderr)
            return 128 + signal.SIGTERM
        except (OSError, RuntimeError, MemoryError) as error:
            if is_disk_full(error):
                print(f"error: nothing more can be written: {error}", file=sys.stderr)
            elif is_out_of_memory(error):
                first_line = (str(error) or "MemoryError").splitlines()[0]
                print(f"error: not enough memory: {first_line}", file=sys.stderr)
            elif getattr(error, "filename", None):
                print(
                    f"error: {error.filename2 or error.filename}: {error.strerror}", file=sys.stderr
                )
            else:
                raise
            return 1

    try:
        app.run(guarded, flags_parser=_parse_flags)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except SystemExit:
        if asks_for_help():
            sys.exit(0)
        raise
