"""Vectors of clips on the disk, so that a file is embedded once.

A few kilobytes a clip (10 s: musicnn 2.4, VGGish 5, CNN14 8). The folder may be deleted at any
time, and shared by processes: an entry is whole or absent, and one that is damaged is no entry.
"""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from tokenizer_bridge.token_dataset.files import atomic_file

_DIGEST_BYTES = 32  # SHA-256 of what follows it in an entry


def entry_key(**facts: Any) -> str:
    """The name of an entry: a hash of everything that its vectors depend on (JSON values)."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class VectorCache:
    """Entries in a folder; with no folder, a cache that is always empty."""

    def __init__(self, folder: Path | None):
        self._folder = folder

    def get(self, key: str) -> dict[str, np.ndarray] | None:
        """The arrays of an entry by name; None if there is none, or none that is undamaged."""
        if self._folder is None:
            return None
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        digest, arrays = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(arrays).digest() != digest:
            return None
        return dict(np.load(io.BytesIO(arrays), allow_pickle=False))

    def put(self, key: str, **arrays: np.ndarray) -> None:
        """Write an entry. Raises OSError, when the disk is full among other things."""
        if self._folder is None:
            return
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        path = self._path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not durable: an entry shows by itself whether it is whole, and can be made again.
        with atomic_file(path, durable=False) as temporary:
            temporary.write_bytes(hashlib.sha256(buffer.getbuffer()).digest() + buffer.getvalue())

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key[2:]}.vectors"
