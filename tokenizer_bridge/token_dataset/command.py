"""Commands: how their arguments are read, and what a mistake of the user's looks like.

A command is a module with

    def make_parser() -> Parser:
        parser = Parser(__doc__)
        parser.add_argument(
            "--workdir", type=local_path, required=True, metavar="RUN", help="Directory of the run."
        )
        return parser

    def main(argv: Sequence[str] | None = None) -> int | None:
        arguments = make_parser().parse_args(argv)
        …

    if __name__ == "__main__":
        run_command(main)

so that it can be called from a program, and two of them from one. A mistake is one line on stderr
that begins with "error:", and exit code 1.
"""

import argparse
import contextlib
import difflib
import io
import logging
import math
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from tokenizer_bridge.token_dataset import paths
from tokenizer_bridge.token_dataset.errors import UserError, explain

Item = TypeVar("Item")


class Terminated(BaseException):
    """SIGTERM, as an exception, so that what is half written is removed on the way out."""


class Parser(argparse.ArgumentParser):
    """The arguments of a command: --name=value, or --name value.

    A dash in a name is as good as an underscore; names are not abbreviated. What it refuses raises
    UserError, with the nearest name for one that it does not know; an empty value is refused.
    """

    def __init__(self, description: str | None = None, **options: Any):
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec is not None and "prog" not in options:  # as it is started: python -m package.name
            options["prog"] = f"python -m {spec.name.removesuffix('.__main__')}"
        super().__init__(
            description=description,
            formatter_class=_HelpFormatter,
            allow_abbrev=False,
            **options,
        )

    def parse_args(self, args=None, namespace=None):
        """The arguments; `args` are sys.argv's by default. Raises UserError."""
        given = [_with_underscores(arg) for arg in (sys.argv[1:] if args is None else args)]
        if {"-h", "--help"} & set(given):  # while it still knows what is required
            self.print_help()
            self.exit()
        for arg in given:  # before what is missing: a name that is misspelt is missing as well
            if arg.startswith("--") and arg.partition("=")[0] not in self._option_string_actions:
                raise UserError(self._unknown(arg))
        required = [action for action in self._actions if action.required]
        for action in required:  # a word without its name is named before the name that is missing
            action.required = False
        try:
            parsed, unknown = self.parse_known_args(given, namespace)
        finally:
            for action in required:
                action.required = True
        if unknown:
            raise UserError(self._unknown(unknown[0]))
        if missing := [_name(a) for a in required if getattr(parsed, a.dest, None) is None]:
            verb = "is" if len(missing) == 1 else "are"
            raise UserError(f"{' and '.join(missing)} {verb} required")
        for action in self._actions:
            value = getattr(parsed, action.dest, None)
            if "" in (value if isinstance(value, list) else [value]):
                raise UserError(f"{_name(action)} is empty")
        return parsed

    def parse_known_args(self, args=None, namespace=None):
        """(the arguments, the words that are none of them)."""
        given = [_with_underscores(arg) for arg in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args(given, namespace)

    def error(self, message: str) -> NoReturn:
        """Called by argparse for what it refuses."""
        raise UserError(message.removeprefix("argument "))

    def _unknown(self, argument: str) -> str:
        if not argument.startswith("--"):
            return f"unexpected argument {argument!r}: arguments are written --name=value"
        name = argument.partition("=")[0]
        # Without the dashes, which would make any two names alike: --input and --output.
        known = [option.removeprefix("--") for option in self._option_string_actions]
        near = difflib.get_close_matches(name.removeprefix("--"), known, n=1, cutoff=0.6)
        hint = f"did you mean --{near[0]}?" if near else "--help shows those that there are"
        return f"there is no argument {name}; {hint}"


class Switch(argparse.BooleanOptionalAction):
    """The action of an argument that is on or off: --name and --no_name."""

    def __init__(self, option_strings, dest, **options):
        super().__init__(option_strings, dest, **options)
        self.option_strings = [_with_underscores(name) for name in self.option_strings]

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, not (option_string or "").startswith("--no_"))


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Help that keeps the layout of the description and names defaults that say something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help
        default = action.default
        is_silent = default is False or default in (None, argparse.SUPPRESS, "", (), [])
        if text is None or is_silent or "%(default)" in text:
            return text
        if isinstance(default, list | tuple):  # as it is typed
            return f"{text} (default: {','.join(map(_as_typed, default))})"
        return f"{text} (default: %(default)s)"


def integer(low: int | None = None, high: int | None = None) -> Callable[[str], int]:
    """The type of an argument that is an integer between two bounds, both included."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no integer") from None
        _require_within(value, text, low, high)
        return value

    return parse


def number(
    low: float | None = None, high: float | None = None, *, above: float | None = None
) -> Callable[[str], float]:
    """The type of an argument that is a finite number from `low` to `high`, and above `above`."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text}: a finite number is needed")
        if above is not None and value <= above:
            raise argparse.ArgumentTypeError(f"{text} must be above {above:g}")
        _require_within(value, text, low, high)
        return value

    return parse


def comma_list(text: str) -> list[str]:
    """The type of an argument that is a list with commas between: a,b,c."""
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise argparse.ArgumentTypeError(f"{text!r} has an empty item")
    return items


def list_of(parse: Callable[[str], Item]) -> Callable[[str], list[Item]]:
    """The type of an argument that is a list of what another type parses."""
    return lambda text: [parse(item) for item in comma_list(text)]


def local_path(text: str) -> str:
    """The type of an argument that is a path of this machine; ~ is the user's home."""
    return _or_refused(paths.local_path, text)


def path_or_url(text: str) -> str:
    """The type of an argument that is a path of this machine, or a URL of an object store."""
    return _or_refused(paths.path_or_url, text)


def local_paths(text: str) -> str:
    """The type of an argument with paths in it, as NAME=PATH or KIND:PATH,…"""
    return _or_refused(paths.local_paths_within, text)


@contextlib.contextmanager
def naming(argument: str) -> Iterator[None]:
    """Puts the argument's name before what a UserError that is raised inside says."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{argument}: {error}") from error


def run_command(main: Callable[[], int | None]) -> NoReturn:
    """Runs `main` and exits with its code, 0 for None; mistakes are one line and exit code 1.

    So are a full disk, too little memory and a file or directory that cannot be used. Ctrl-C exits
    with 130 and SIGTERM with 143, both after what is half written has been removed; a command that
    handles them itself sets handlers of its own.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal may lack letters; that is no error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    _log_in_lines()
    _raise_at_signals()
    try:
        try:
            sys.exit(main() or 0)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_stdout_broken():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        sys.exit(128 + signal.SIGPIPE)
    except KeyboardInterrupt:
        _end_by(signal.SIGINT)
    except Terminated:
        _end_by(signal.SIGTERM)
    except Exception as error:
        if _heard:
            _end_by(_heard[0])
        explained = explain(error)
        if explained is None:
            raise
        code, line = explained
        print(f"error: {line}", file=sys.stderr)
        sys.exit(code)


class _Lines(logging.Formatter):
    """A line as commands write it, "warning: …"; of other libraries with the logger's name."""

    def format(self, record: logging.LogRecord) -> str:
        source = "" if record.name in ("root", "absl") else f"{record.name}: "
        return f"{record.levelname.lower()}: {source}{super().format(record)}"


def _log_in_lines() -> None:
    """What is logged goes to stderr, from warnings on."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_Lines())
    logging.basicConfig(handlers=[handler])


def _is_stdout_broken() -> bool:
    """True where the reader of what is printed has seen enough, as in `… -h | head`."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _or_refused(parse: Callable[[str], str], text: str) -> str:
    try:
        return parse(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _require_within(value: float, text: str, low: float | None, high: float | None) -> None:
    """Raises ArgumentTypeError, which names the value as it was typed, outside of the bounds."""
    if (low is not None and value < low) or (high is not None and value > high):
        if high is None:
            bounds = f"at least {_as_typed(low)}"
        elif low is None:
            bounds = f"at most {_as_typed(high)}"
        else:
            bounds = f"between {_as_typed(low)} and {_as_typed(high)}"
        raise argparse.ArgumentTypeError(f"{text} must be {bounds}")


def _as_typed(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _with_underscores(argument: str) -> str:
    """--num-samples=4 as --num_samples=4; values are left alone."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _name(action: argparse.Action) -> str:
    return action.option_strings[0] if action.option_strings else action.dest


# Signals that were raised as exceptions here. An extension in C that is being imported may turn
# such an exception into an error of its own, as NumPy and jaxlib do: only this tells what it was.
_heard: list[int] = []


def _end_by(number: int) -> NoReturn:
    """Ends the command because of a signal, in a word."""
    print("interrupted" if number == signal.SIGINT else "terminated", file=sys.stderr)
    sys.exit(128 + number)


def _raise_at_signals() -> None:
    """Makes the first SIGTERM raise Terminated in this process; a second one kills it as usual.

    Ctrl-C raises KeyboardInterrupt as Python has it.
    """
    command = os.getpid()

    def stop(number: int, frame) -> None:
        del frame
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != command:  # a fork
            os.kill(os.getpid(), number)
        else:
            _heard.append(number)
            raise Terminated

    def interrupt(number: int, frame) -> None:
        if os.getpid() == command:
            _heard.append(number)
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGTERM, stop)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell ignores it
        signal.signal(signal.SIGINT, interrupt)
    report = sys.unraisablehook

    def stop_later(unraisable) -> None:
        """Sends the signal again whose exception fell where Python ignores any: in a callback of
        the garbage collector, say, of which JAX has one."""
        number = _signal_behind(unraisable.exc_value)
        if number is None:
            return report(unraisable)
        if unraisable.exc_type is Terminated:
            signal.signal(number, stop)
        threading.Timer(0.05, os.kill, (command, number)).start()

    sys.unraisablehook = stop_later


def _signal_behind(error: BaseException | None) -> int | None:
    """The signal that a handler of ours, or Python's of Ctrl-C, raised as this exception."""
    if isinstance(error, SystemExit) and isinstance(error.code, int) and error.code > 128:
        return error.code - 128
    if isinstance(error, Terminated):
        return signal.SIGTERM
    return signal.SIGINT if isinstance(error, KeyboardInterrupt) else None
