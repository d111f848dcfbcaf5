"""Shows what a token dataset holds: what one looks at before training on it.

    python -m tokenizer_bridge.inspect --tokens=TOKENS [--output=DIR]

TOKENS is what encode wrote, or sample. Per split: tracks, hours, artists, use of the codebook,
entropies of codes and of codes given the last one, repeats and silence, lengths and tags; over all
splits: tracks and stretches that occur more than once. Figures that are biased say to which side.
--output writes the same as DIR/inspect.html, complete in itself, and DIR/inspect.json.

Records are read one by one. Memory is a few hundred MB, whatever the size of the dataset.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokenizer_bridge.inspection.page import as_page
from tokenizer_bridge.inspection.summary import summarise
from tokenizer_bridge.inspection.text import as_text
from tokenizer_bridge.token_dataset.command import Parser, local_path, path_or_url, run_command
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable, write_json_atomically
from tokenizer_bridge.token_dataset.records import TokenDataset


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument("--tokens", type=path_or_url, required=True, help="Token dataset.")
    parser.add_argument(
        "--output", type=local_path, metavar="DIR", help="For inspect.html and inspect.json."
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    inspect(arguments.tokens, arguments.output)


def inspect(tokens: str, output: str | None = None) -> dict[str, Any]:
    """The figures of a token dataset, printed and, with `output`, written into that directory.

    Raises UserError.
    """
    dataset = TokenDataset(tokens)
    folder = Path(output) if output else None
    if folder:
        make_writable(folder)
    total = sum(dataset.num_records(split) for split in dataset.splits)
    with tqdm(total=total, unit="track", desc="inspect", leave=False) as bar:
        summary = summarise(dataset, bar.update)
    print(as_text(summary))
    if folder:
        write_json_atomically(folder / "inspect.json", summary)
        with atomic_file(folder / "inspect.html") as partial:
            partial.write_text(as_page(summary), encoding="utf-8")
        print(f"\npage written to {folder / 'inspect.html'}")
    return summary


if __name__ == "__main__":
    run_command(main)
