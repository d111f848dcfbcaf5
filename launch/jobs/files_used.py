"""The files of a token dataset: those that were used, and those left out with the reason."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from tokenizer_bridge.encoding.job import FAILURES_FILE
from tokenizer_bridge.token_dataset.records import TokenDataset

_MOST = 30


def files_used(tokens: Path) -> Iterator[str]:
    """The lines, of files used with their minutes and seconds, of those left out with the reason.

    Raises UserError unless there is a whole data set.
    """
    dataset = TokenDataset(tokens)
    seconds: dict[str, float] = {}
    for split in dataset.splits:
        for record in dataset.records(split):  # a track may be in two parts
            name = record.source.get("file", record.id)
            seconds[name] = seconds.get(name, 0.0) + record.duration_s
    used = [f"{name} ({int(s) // 60}:{int(s) % 60:02d})" for name, s in sorted(seconds.items())]
    left_out = []
    if (path := tokens / FAILURES_FILE).exists():
        with path.open(encoding="utf-8") as file:
            failures = [json.loads(line) for line in file]
        left_out = [f"{failure['id']}: {failure['reason']}" for failure in failures]
    yield from _listed("files used", used)
    if left_out:
        yield from _listed("files left out", left_out)


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    yield f"{title}: {len(lines)}"
    yield from (f"  {line}" for line in lines[:_MOST])
    if len(lines) > _MOST:
        yield f"  and {len(lines) - _MOST} more"
