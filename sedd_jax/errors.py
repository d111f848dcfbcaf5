"""Errors that a command says in one line, with the exit codes of a run that a launcher watches."""

from collections.abc import Iterator

from tokenizer_bridge.token_dataset.errors import Explained, UserError, explain, one_line

__all__ = ["TRY_AGAIN", "RestartNeeded", "UserError", "chain", "explain", "one_line"]

TRY_AGAIN = 75  # EX_TEMPFAIL of sysexits.h: "the user is invited to retry"


class RestartNeeded(Explained):
    """An error that a new start of all processes mends."""

    exit_code = TRY_AGAIN


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those that caused it."""
    current: BaseException | None = error
    while current is not None:
        yield current
        current = current.__cause__ or current.__context__
