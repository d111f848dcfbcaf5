"""Lists the files that a token data set is made of, and those that were left out.

    python -m launch.files_used --tokens=TOKENS

Of each it shows at most 30, all but these are counted.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.token_dataset.command import Parser, local_path, run_command


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--tokens", type=local_path, required=True, help="The token data set that encode made."
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    tokens = Path(make_parser().parse_args(argv).tokens)

    from launch.jobs.files_used import files_used

    print("\n".join(files_used(tokens)))


if __name__ == "__main__":
    run_command(main)
