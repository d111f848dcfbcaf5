"""The log of what an unfinished `encode` has done, safe against being killed at any moment.

    OUTPUT/unfinished/settings.json            what is being made; every worker's must agree
    OUTPUT/unfinished/00001-of-00004.log       one per worker: a frame for each track done

A frame is the length and CRC-32 of its payload (little-endian uint32 each), then the payload: a
record as the token dataset stores it, or for a file without usable audio {id, file, reason}. A
worker that dies leaves at most one torn frame, at the end, which nobody reads and which it cuts off
when it starts again. A track is done when it is in any log, so that a run may be resumed with
another number of workers.
"""

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgpack

from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.token_dataset.locks import PATIENCE_S, wait_for_lock

SETTINGS_FILE = "settings.json"
_HEADER = struct.Struct("<II")  # length, CRC-32
_SYNC_EVERY_S = 1.0  # only a crash of the machine, not of the process, loses what is not synced


def settings_agree(directory: Path, settings: Mapping[str, Any]) -> None:
    """Write the settings of a new run, or check that they are those of the run to be resumed.

    Raises UserError naming the first setting that differs, or the file if it cannot be read.
    """
    path = directory / SETTINGS_FILE
    directory.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        write_json_atomically(path, settings)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UserError(f"{path} is damaged: remove {directory} to start afresh")
    require_equal(directory, found, settings)


def require_equal(where: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raise UserError, naming the setting, unless `where` was made as it would be made now."""
    for key in [*(key for key in old if key not in new), *new]:
        if old.get(key) != new.get(key):
            raise UserError(
                f"{where} was made with another {key} ({old.get(key)} instead of {new.get(key)}): "
                "choose another directory, or remove it to start afresh"
            )


class WorkLog:
    """Appends frames to one worker's log, which it alone may hold.

    patience_s: how long another process that holds it may take to come to its end. Raises UserError
    if it lives on, FileNotFoundError if it has taken the logs away, OSError if the disk is full:
    the frame that did not fit counts as torn.
    """

    def __init__(self, path: Path, patience_s: float = PATIENCE_S):
        self._file = open(path, "ab")
        try:
            said = f"{path}: another process is doing this shard"
            wait_for_lock(self._file.fileno(), said, time.monotonic() + patience_s)
            path.stat()
        except BaseException:
            self._file.close()
            raise
        whole = 0
        for offset, payload in _frames(path):
            whole = offset + len(payload)
        self._file.truncate(whole)
        self._synced_at = time.monotonic()

    def append(self, payload: bytes) -> None:
        """Add one frame; it survives the death of this process."""
        self._file.write(_frame(payload))
        self._file.flush()
        if time.monotonic() - self._synced_at > _SYNC_EVERY_S:
            self._sync()

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced_at = time.monotonic()

    def __enter__(self) -> "WorkLog":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        if error_type is None:
            self._sync()
        self._file.close()


class WorkIndex:
    """An index of the logs of all workers, by track id: records on disk, failures in memory."""

    def __init__(self, directory: Path):
        self.failures: dict[str, dict[str, Any]] = {}
        self._places: dict[str, tuple[Path, int, int]] = {}  # id -> (log, offset, length)
        for path in sorted(directory.glob("*.log")):
            for offset, payload in _frames(path):
                entry = msgpack.unpackb(payload)
                # Two runs with different numbers of workers may do a track twice: one counts.
                if "reason" in entry:
                    self.failures[entry["id"]] = entry
                else:
                    self._places[entry["id"]] = (path, offset, len(payload))
        for track_id in self._places:
            self.failures.pop(track_id, None)

    def __contains__(self, track_id: str) -> bool:
        return track_id in self._places or track_id in self.failures

    def record(self, track_id: str) -> bytes:
        """The record of a track that is done and did not fail."""
        path, offset, length = self._places[track_id]
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read(length)


def frames_after(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """(end, bytes) of every whole frame of a log behind `start`, the end of one or 0."""
    for offset, payload in _frames(path, start):
        yield offset + len(payload), _frame(payload)


def _frame(payload: bytes) -> bytes:
    return _HEADER.pack(len(payload), zlib.crc32(payload)) + payload


def _frames(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(offset, payload) of every whole frame from `start` on, up to the first that is torn."""
    with open(path, "rb") as file:
        file.seek(start)
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            length, checksum = _HEADER.unpack(header)
            payload = file.read(length)
            if len(payload) != length or zlib.crc32(payload) != checksum:
                return
            yield file.tell() - length, payload
