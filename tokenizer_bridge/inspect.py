"""Shows what a token dataset holds: what one looks at before training on it.

    python -m tokenizer_bridge.inspect TOKENS [--output=DIR]

TOKENS is what encode wrote, or sample. Per split: tracks, hours, artists, use of the codebook,
entropies of codes and of codes given the last one, repeats and silence, lengths and tags; over all
splits: tracks and stretches that occur more than once. Figures that are biased say to which side.
--output writes the same as DIR/inspect.html, complete in itself, and DIR/inspect.json.

Records are read one by one. Memory is a few hundred MB, whatever the size of the dataset.
"""

from pathlib import Path

from absl import flags
from tqdm import tqdm

from tokenizer_bridge.inspection.page import as_page
from tokenizer_bridge.inspection.summary import summarise
from tokenizer_bridge.inspection.text import as_text
from tokenizer_bridge.token_dataset.errors import run_door
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable, write_json_atomically
from tokenizer_bridge.token_dataset.records import TokenDataset

_OUTPUT = flags.DEFINE_string("output", None, "Directory for inspect.html and inspect.json.")


def main(argv: list[str]) -> None:
    dataset = TokenDataset(argv[1])
    output = Path(_OUTPUT.value) if _OUTPUT.value else None
    if output:
        make_writable(output)
    total = sum(dataset.num_records(split) for split in dataset.splits)
    with tqdm(total=total, unit="track", desc="inspect", leave=False) as bar:
        summary = summarise(dataset, bar.update)
    print(as_text(summary))
    if output:
        write_json_atomically(output / "inspect.json", summary)
        with atomic_file(output / "inspect.html") as partial:
            partial.write_text(as_page(summary), encoding="utf-8")
        print(f"\npage written to {output / 'inspect.html'}")


if __name__ == "__main__":
    run_door(main, positionals=["TOKENS"])
