"""The arguments of commands that say which model they read."""

from argparse import ArgumentTypeError

from sedd_jax.checkpoints import BEST
from tokenizer_bridge.token_dataset.command import Parser, integer, path_or_url


def add_model(parser: Parser) -> None:
    """Adds --workdir, a model as `sedd_jax.weights.exported.load` finds it, and --step."""
    parser.add_argument(
        "--workdir",
        type=path_or_url,
        required=True,
        metavar="RUN",
        help="Directory of a run or of an exported model; demo; or user/name on the hub.",
    )
    add_step(parser)


def add_step(parser: Parser) -> None:
    """Adds --step, which checkpoint of a run a command reads: a number, BEST or None."""
    parser.add_argument(
        "--step",
        type=_step,
        metavar="STEP",
        help="Checkpoint, or best: that of lowest validation; the newest by default.",
    )


def _step(text: str) -> int | str:
    try:
        return text if text == BEST else integer(0)(text)
    except ArgumentTypeError as error:
        raise ArgumentTypeError(f"{error}; best is the one of lowest validation") from None
