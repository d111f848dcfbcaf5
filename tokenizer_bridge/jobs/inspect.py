"""Inspection: the figures of a token dataset, printed and written as a page."""

from typing import Any

from tqdm import tqdm

from tokenizer_bridge.inspection.page import as_page
from tokenizer_bridge.inspection.summary import summarise
from tokenizer_bridge.inspection.text import as_text
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable, write_json_atomically
from tokenizer_bridge.token_dataset.mirrors import folder_at
from tokenizer_bridge.token_dataset.records import TokenDataset


def inspect(tokens: str, output: str | None = None) -> dict[str, Any]:
    """The figures of a token dataset, printed and, with `output`, written into that folder.

    tokens, output: directories or URLs.

    Raises UserError.
    """
    dataset = TokenDataset(tokens)
    folder = folder_at(output) if output else None
    if folder:
        make_writable(folder.path)
        folder.check_writable()
    total = sum(dataset.num_records(split) for split in dataset.splits)
    with tqdm(total=total, unit="track", desc="inspect", leave=False) as bar:
        summary = summarise(dataset, bar.update)
    print(as_text(summary))
    if folder:
        page = folder.path / "inspect.html"
        write_json_atomically(folder.path / "inspect.json", summary)
        with atomic_file(page) as partial:
            partial.write_text(as_page(summary), encoding="utf-8")
        folder.push()
        print(folder.named(f"\npage written to {page}"))
    return summary
