"""The ArrayRecord shards of one split, while a token dataset is being written."""

import os
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordWriter

from tokenizer_bridge.token_dataset.files import file_sha256, sync


class SplitWriter:
    """Writes records to shards of bounded size, named `….partial` until their number is known.

    directory: where the shards go. tokens_per_shard: a shard that holds so many is finished.
    Any method raises OSError, or ArrayRecord's RuntimeError, when the disk is full.
    """

    def __init__(self, directory: Path, split: str, tokens_per_shard: int):
        self._directory, self._split = directory, split
        self._tokens_per_shard = tokens_per_shard
        self._shards: list[dict[str, Any]] = []  # entries of dataset.json
        self._lengths: list[int] = []
        self._open_shard()

    def write(self, data: bytes, num_tokens: int) -> None:
        """Append one record."""
        if self._shards[-1]["num_tokens"] >= self._tokens_per_shard:
            self._finish_shard()
            self._open_shard()
        self._writer.write(data)
        self._shards[-1]["num_records"] += 1
        self._shards[-1]["num_tokens"] += num_tokens
        self._lengths.append(num_tokens)

    def close(self) -> dict[str, Any]:
        """Give the shards their final names; returns the split's entry in dataset.json."""
        self._finish_shard()
        shards = []
        for index, shard in enumerate(self._shards):
            name = f"{self._split}-{index:05d}-of-{len(self._shards):05d}.array_record"
            os.replace(self._partial(index), self._directory / name)
            shards.append({"file": name} | shard)
        return {"shards": shards, "lengths": self._lengths}

    def _partial(self, index: int) -> Path:
        return self._directory / f"{self._split}-{index:05d}.array_record.partial"

    def _open_shard(self) -> None:
        path = self._partial(len(self._shards))
        self._writer = ArrayRecordWriter(str(path), "group_size:1")
        self._shards.append({"num_records": 0, "num_tokens": 0})

    def _finish_shard(self) -> None:
        self._writer.close()
        path = self._partial(len(self._shards) - 1)
        sync(path)
        self._shards[-1]["num_bytes"] = path.stat().st_size
        self._shards[-1]["sha256"] = file_sha256(path)
