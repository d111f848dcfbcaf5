"""The part of itself that a growing token data set keeps while what is new is encoded.

    OUTPUT/unfinished/kept.log      its tracks, as if a worker had just done them
    OUTPUT/unfinished/kept.json     their splits; written last: its presence means that all is kept

With these the data set can be written anew at any moment, whatever is killed.
"""

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from tokenizer_bridge.encoding.division import FIRST_TOKEN
from tokenizer_bridge.encoding.progress_log import WorkLog
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.token_dataset.records import DATASET_FILE, Record, TokenDataset

_KEPT_FILE = "kept.json"


@dataclass(frozen=True)
class Kept:
    """The splits of tracks that are in the data set already, and the way that they came of."""

    way: str
    splits: Mapping[str, str]


def keep(dataset: TokenDataset, failures: Iterable[Mapping[str, Any]], directory: Path) -> None:
    """Put a whole data set into the logs of an unfinished one, unless it is there."""
    if (directory / _KEPT_FILE).exists():
        return
    (directory / "kept.log").unlink(missing_ok=True)  # of a process that was killed here
    splits = {}
    with WorkLog(directory / "kept.log") as log:
        for failure in failures:
            log.append(msgpack.packb(failure))
        for split, record in _whole_tracks(dataset):
            splits[record.id] = split
            log.append(replace(record, vectors={}).to_bytes())
    way = dataset.origin.get("splits", "by_artist")
    write_json_atomically(directory / _KEPT_FILE, {"way": way, "splits": splits})


def read_kept(directory: Path) -> Kept | None:
    """The part that `keep` has kept; None for a data set that is new."""
    try:
        text = (directory / _KEPT_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return Kept(**json.loads(text))


def put_in_place(new: Path, output: Path) -> None:
    """Move a whole data set over the one that it grew from."""
    (output / DATASET_FILE).unlink(missing_ok=True)
    for path in output.glob("*.array_record"):
        path.unlink()
    for path in sorted(new.iterdir(), key=lambda path: path.name == DATASET_FILE):  # it comes last
        shutil.move(path, output / path.name)


def _whole_tracks(dataset: TokenDataset) -> Iterator[tuple[str, Record]]:
    """(split, record) of every track; those that are divided in themselves, joined."""
    ends = {}
    if dataset.origin.get("splits") == "within_track" and "validation" in dataset.splits:
        ends = {record.id: record for record in dataset.records("validation")}
    for split in dataset.splits:
        for record in dataset.records(split):
            if FIRST_TOKEN in record.source:
                continue
            if end := ends.get(record.id):
                record = replace(
                    record,
                    tokens=np.concatenate([record.tokens, end.tokens]),
                    duration_s=record.duration_s + end.duration_s,
                )
            yield split, record
