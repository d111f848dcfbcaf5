"""Token data sets of given records, in the codec `demo-scores`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter
from tokenizer_bridge.wavtokenizer.registry import load_codec


def write_dataset(
    path: Path, splits: Mapping[str, Sequence[Record]], origin: Mapping[str, Any] | None = None
) -> Path:
    _, info = load_codec("demo-scores")
    with TokenDatasetWriter(path, vars(info), origin) as writer:
        for split, records in splits.items():
            for record in records:
                writer.write(split, record)
    return path
