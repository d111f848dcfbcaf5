"""Shows what a token dataset holds: what one looks at before training on it.

    python -m tokenizer_bridge.inspect --tokens=TOKENS [--output=DIR]

TOKENS is what encode wrote, or sample. Per split: tracks, hours, artists, use of the codebook,
entropies of codes and of codes given the last one, repeats and silence, lengths and tags; over all
splits: tracks and stretches that occur more than once. Figures that are biased say to which side.
--output writes the same as DIR/inspect.html, complete in itself, and DIR/inspect.json.

Records are read one by one. Memory is a few hundred MB, whatever the size of the dataset.
"""

from collections.abc import Sequence

from tokenizer_bridge.token_dataset.command import Parser, path_or_url, run_command


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--tokens", type=path_or_url, required=True, help="Token dataset.")
    parser.add_argument(
        "--output", type=path_or_url, metavar="DIR", help="For inspect.html and inspect.json."
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)

    from tokenizer_bridge.jobs.inspect import inspect

    inspect(arguments.tokens, arguments.output)


if __name__ == "__main__":
    run_command(main)
