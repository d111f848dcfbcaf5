"""A report: what its plan says is measured, written as page, Markdown and JSON, and printed."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from tokenizer_bridge.fad.embeddings import Embedding
from tokenizer_bridge.reporting.markdown import as_markdown
from tokenizer_bridge.reporting.page import as_page
from tokenizer_bridge.reporting.run import Plan, make_report
from tokenizer_bridge.reporting.table import measurement_table, paper_table, text, title
from tokenizer_bridge.reporting.verdict import verdict
from tokenizer_bridge.token_dataset.files import atomic_file, write_json_atomically


def write_report(plan: Plan, embeddings: Sequence[Embedding], output: Path) -> None:
    """Measures what the plan says, writes the report into a directory and prints its tables.

    Raises UserError.
    """
    report, shown = make_report(plan, embeddings, bar)
    html = as_page(report, shown)
    with atomic_file(output / "report.html") as partial:
        partial.write_text(html, encoding="utf-8")
    with atomic_file(output / "report.md") as partial:
        partial.write_text(as_markdown(report), encoding="utf-8")
    write_json_atomically(output / "report.json", report)
    print(f"{text(paper_table(report))}\n")
    for m in report["measurements"]:
        print(f"{title(m)}\n{text(measurement_table(m))}")
        print(f"{verdict(m) or ''}\n")
    for line in report["warnings"]:
        print(f"mind: {line}")
    print(f"report written to {output / 'report.html'}")


@contextlib.contextmanager
def bar(title: str, total: int, unit: str) -> Iterator[Callable[[], object]]:
    with tqdm(total=total, unit=unit, desc=title) as progress:
        yield progress.update
