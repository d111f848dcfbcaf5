"""Mistakes of the user's, and how a door reports them: one line on stderr, exit code 1."""

import logging
import re
import sys
from collections.abc import Callable

from absl import app, flags

from tokenizer_bridge import errors as records_errors


class UserError(Exception):
    """A mistake of the user's; its text is the one line that the door prints."""


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception's text on one line, of at most `limit` characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _parse_flags(argv: list[str]) -> list[str]:
    """absl's flags, ml_collections' overrides included; every refusal becomes a UserError."""
    try:
        rest = flags.FLAGS(argv)
    except (AttributeError, KeyError) as error:  # ml_collections: an override of no known key
        name = re.search(r"\w+", str(error))
        like = re.search(r'Did you mean "(\w+)"', str(error))
        hint = f"; did you mean {like[1]}?" if like else ""
        raise UserError(f"unknown config key {name[0] if name else ''}{hint}") from error
    except (flags.Error, OSError, SyntaxError, TypeError, ValueError) as error:
        raise UserError(one_line(error)) from error
    if len(rest) > 1:
        raise UserError(f"unexpected argument {rest[1]!r}: flags are written --name=value")
    return rest


def run_door(main: Callable[[list[str]], int | None]) -> None:
    """absl's app.run around main: UserError → `error: …` on stderr, exit 1; Ctrl-C → exit 130.

    A refusal of the token dataset's own and a full disk count as mistakes of the user's.
    """
    # Under absl it would tell of every accelerator that is not there.
    logging.getLogger("jax._src.xla_bridge").setLevel(logging.WARNING)
    try:
        app.run(main, flags_parser=_parse_flags)
    except (UserError, records_errors.UserError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except (OSError, RuntimeError) as error:
        if not records_errors.is_disk_full(error):
            raise
        print(f"error: nothing more can be written: {one_line(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
