"""Inspection: the figures of a token dataset, printed and written as a page."""

from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokenizer_bridge.inspection.page import as_page
from tokenizer_bridge.inspection.summary import summarise
from tokenizer_bridge.inspection.text import as_text
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable, write_json_atomically
from tokenizer_bridge.token_dataset.records import TokenDataset


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
