"""The token dataset: the directory in which the two packages meet.

    dataset.json                          written last, atomically: its presence means whole
    train-00000-of-00002.array_record     ArrayRecord, group_size:1, one record a track
    validation-….array_record  test-….array_record        (or generated-….array_record)

A record is a msgpack map {id, tokens, num_tokens, duration_s, artist, tags, source}, its tokens
little-endian uint16. dataset.json holds `format_version`, `codec`, `origin` (how the dataset was
made, for people and for resuming) and per split the shards and the length of every track. Where
tracks have vectors (vectors.py), dataset.json has `vectors`, kind → width, and a record has
`vectors`, kind → little-endian fp32.

This module imports neither torch nor jax, so that both packages may use it.
"""

import bisect
import itertools
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

from tokenizer_bridge.token_dataset.buckets import local_dataset
from tokenizer_bridge.token_dataset.description import (
    CODEC_KEYS,
    DATASET_FILE,
    FORMAT_VERSION,
    MAX_CODEBOOK_SIZE,
    codec_difference,
    read_description,
)
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import file_sha256, write_json_atomically
from tokenizer_bridge.token_dataset.kinds import check_widths
from tokenizer_bridge.token_dataset.paths import is_url, local_path
from tokenizer_bridge.token_dataset.shards import SplitWriter
from tokenizer_bridge.token_dataset.vectors import (
    Vectors,
    check_vectors,
    pack,
    unpack,
)

TRAIN_SPLIT = "train"  # the split that models learn from
_TOKENS_PER_SHARD = 2**25  # 64 MiB: about 120 hours of music at 75 tokens/s
_SHARD_NAME = re.compile(r"[a-z_]+-\d{5}(-of-\d{5})?\.array_record(\.partial)?")
# Random access by many loader threads: no read-ahead, no thread pool of the reader's own.
_READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"


@dataclass(frozen=True)
class Record:
    """One track of a token dataset.

    tokens: (L,) uint16, each below the codec's codebook_size. duration_s: seconds of audio.
    artist: None if unknown. tags: free text, e.g. "genre---rock". source: where it came from, as
    msgpack-able values (encode: the file; sample: seed, sampler, steps, checkpoint step).
    vectors: kind → (W,) float32, of the kinds and widths of the dataset; a track may lack some.
    """

    id: str
    tokens: np.ndarray
    duration_s: float
    artist: str | None = None
    tags: tuple[str, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)
    vectors: Vectors = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The record as stored: a msgpack map."""
        fields = {
            "id": self.id,
            "tokens": np.ascontiguousarray(self.tokens, dtype="<u2").tobytes(),
            "num_tokens": len(self.tokens),
            "duration_s": float(self.duration_s),
            "artist": self.artist,
            "tags": list(self.tags),
            "source": dict(self.source),
        }
        if self.vectors:
            fields["vectors"] = pack(self.vectors)
        return msgpack.packb(fields)

    @staticmethod
    def from_bytes(data: bytes, codebook_size: int) -> "Record":
        """The inverse of `to_bytes`. Raises ValueError saying what is wrong with the data."""
        try:
            fields = msgpack.unpackb(data)
            raw, num_tokens = fields["tokens"], fields["num_tokens"]
            if len(raw) != 2 * num_tokens:
                raise ValueError(f"{num_tokens} tokens promised, {len(raw)} bytes found")
            tokens = np.frombuffer(raw, dtype="<u2").astype(np.uint16)  # (L,) writable, native
            check_tokens(tokens, codebook_size)
            return Record(
                id=fields["id"],
                tokens=tokens,
                duration_s=fields["duration_s"],
                artist=fields["artist"],
                tags=tuple(fields["tags"]),
                source=fields["source"],
                vectors=unpack(fields.get("vectors", {})),
            )
        except (
            KeyError, TypeError, AttributeError, UnicodeDecodeError, msgpack.UnpackException
        ) as error:  # fmt: skip
            raise ValueError(f"no msgpack map of a track ({error!r})") from error


def check_tokens(tokens: np.ndarray, codebook_size: int) -> None:
    """Raise ValueError unless tokens (L,), L > 0, are whole numbers in [0, codebook_size)."""
    if tokens.ndim != 1 or len(tokens) == 0:
        raise ValueError(f"a row of tokens is needed, not shape {tokens.shape}")
    if tokens.dtype.kind not in "iu":
        raise ValueError(f"tokens must be whole numbers, not {tokens.dtype}")
    is_signed = tokens.dtype.kind == "i"
    if int(tokens.max()) >= codebook_size or (is_signed and int(tokens.min()) < 0):
        bad = tokens[(tokens >= codebook_size) | (tokens < 0)].flat[0]
        raise ValueError(f"token {bad} is outside the codec's {codebook_size} codes")


class TokenDatasetWriter:
    """Writes a token dataset; `close` (or leaving the `with` block) makes it whole.

    path: directory, created if missing; must not hold a dataset.json. codec: the CODEC_KEYS.
    origin: how the dataset is made (JSON values). vectors: width of each kind that records may
    have. If the `with` block raises, its shards are removed; those of a killed writer are removed
    by the next one.
    Raises UserError for a whole dataset at path, ValueError for a record that breaks the format.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        codec: Mapping[str, Any],
        origin: Mapping[str, Any] | None = None,
        tokens_per_shard: int = _TOKENS_PER_SHARD,
        vectors: Mapping[str, int] | None = None,
    ):
        self.path = Path(local_path(os.fspath(path)))
        if (self.path / DATASET_FILE).exists():
            raise UserError(f"{self.path} already holds a whole token dataset: choose another")
        self.path.mkdir(parents=True, exist_ok=True)
        self._remove_shards()
        self.codec = {key: codec[key] for key in CODEC_KEYS}
        if not 0 < self.codec["codebook_size"] <= MAX_CODEBOOK_SIZE:
            raise ValueError(f"codebook_size {self.codec['codebook_size']} does not fit uint16")
        self.origin = dict(origin or {})
        self.vectors = dict(sorted((vectors or {}).items()))
        check_widths(self.vectors)
        self._tokens_per_shard = tokens_per_shard
        self._splits: dict[str, SplitWriter] = {}

    def write(self, split: str, record: Record) -> None:
        """Append a record to a split (lower-case letters and underscores)."""
        if not re.fullmatch(r"[a-z_]+", split):
            raise ValueError(f"split {split!r}: lower-case letters and underscores only")
        try:
            check_tokens(np.asarray(record.tokens), self.codec["codebook_size"])
            check_vectors(record.vectors, self.vectors)
        except ValueError as error:
            raise ValueError(f"record {record.id!r}: {error}") from error
        if split not in self._splits:
            self._splits[split] = SplitWriter(self.path, split, self._tokens_per_shard)
        self._splits[split].write(record.to_bytes(), len(record.tokens))

    def close(self) -> None:
        """Finish the shards, then write dataset.json."""
        meta = {"format_version": FORMAT_VERSION, "codec": self.codec, "origin": self.origin}
        if self.vectors:
            meta["vectors"] = self.vectors
        meta["splits"] = {name: writer.close() for name, writer in sorted(self._splits.items())}
        write_json_atomically(self.path / DATASET_FILE, meta)

    def __enter__(self) -> "TokenDatasetWriter":
        return self

    def __exit__(self, error_type, error, traceback) -> None:
        try:
            if error_type is None:
                self.close()
        finally:
            if not (self.path / DATASET_FILE).exists():
                self._remove_shards()

    def _remove_shards(self) -> None:
        """Remove what an unfinished writer leaves: shards are nothing without dataset.json."""
        for path in self.path.iterdir():
            if _SHARD_NAME.fullmatch(path.name):
                path.unlink()


class TokenDataset:
    """A whole token dataset, read at random or in order; safe to share between threads, to fork
    and to pickle.

    Opening checks dataset.json and the presence and size of every shard; each read checks its
    record; `verify` also checks every shard's SHA-256. Each failure is a UserError of one line that
    names the file and, where it applies, the record.

    path: a directory, or the URL of one, which is copied to this machine first. Attributes: path is
    the directory here; place, what leads to the dataset from anywhere on this machine.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = local_dataset(path)
        self.place = os.fspath(path) if is_url(path) else str(self.path.absolute())
        self._opened = self._version()
        meta = read_description(self.path)
        self.codec: dict[str, Any] = meta["codec"]
        self.origin: dict[str, Any] = meta["origin"]
        self.vectors: dict[str, int] = meta["vectors"]  # kind → width
        self._splits: dict[str, dict[str, Any]] = meta["splits"]
        # Split → the first record of each shard, and after the last how many there are.
        self._starts: dict[str, list[int]] = {}
        for name, split in self._splits.items():
            counts = [shard["num_records"] for shard in split["shards"]]
            self._starts[name] = [0, *itertools.accumulate(counts)]
            if self._starts[name][-1] != len(split["lengths"]):
                raise UserError(
                    f"{self.path / DATASET_FILE}: split {name!r} lists {len(split['lengths'])} "
                    f"lengths for {self._starts[name][-1]} records"
                )
            for shard in split["shards"]:
                self._check_size(shard)
        self._readers: dict[str, ArrayRecordReader] = {}
        self._lock = threading.Lock()

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits; none is empty."""
        return tuple(self._splits)

    def num_records(self, split: str) -> int:
        """Number of tracks in a split."""
        return len(self._split(split)["lengths"])

    def lengths(self, split: str) -> np.ndarray:
        """(num_records,) int32: tokens of each track, without opening a record."""
        return np.asarray(self._split(split)["lengths"], dtype=np.int32)

    def read(self, split: str, index: int) -> Record:
        """The record at a position of a split. Raises IndexError outside [0, num_records)."""
        entry = self._split(split)
        if not 0 <= index < len(entry["lengths"]):
            raise IndexError(f"split {split!r} has {len(entry['lengths'])} records, not {index}")
        shard_index = bisect.bisect_right(self._starts[split], index) - 1
        position = int(index) - self._starts[split][shard_index]
        shard = entry["shards"][shard_index]
        try:
            data = self._reader(shard).read([position])[0]
        except (RuntimeError, IndexError, ValueError) as error:
            where = self._where(shard, position)
            raise UserError(f"{where} cannot be read, the file is damaged: {error}") from error
        try:
            record = Record.from_bytes(data, self.codec["codebook_size"])
            check_vectors(record.vectors, self.vectors)
        except (ValueError, TypeError) as error:
            raise UserError(f"{self._where(shard, position)} is damaged: {error}") from error
        length = entry["lengths"][index]
        if len(record.tokens) != length:
            raise UserError(
                f"{self._where(shard, position)} ({record.id!r}) has {len(record.tokens)} tokens, "
                f"{DATASET_FILE} says {length}"
            )
        return record

    def records(self, split: str) -> Iterator[Record]:
        """The records of a split in order."""
        for index in range(self.num_records(split)):
            yield self.read(split, index)

    def verify(self) -> None:
        """Read every record and check every shard's SHA-256."""
        for name, split in self._splits.items():
            first = 0
            for shard in split["shards"]:
                path = self.path / shard["file"]
                whole = file_sha256(path) == shard["sha256"]
                for index in range(first, first + shard["num_records"]):
                    self.read(name, index)  # names the record if that is where the damage is
                if not whole:
                    raise UserError(f"{path} is damaged: its SHA-256 is not {DATASET_FILE}'s")
                first += shard["num_records"]

    def require_codec(self, codec: Mapping[str, Any]) -> None:
        """Raise UserError unless the tokens are those of this codec (its weights and rates)."""
        if key := codec_difference(self.codec, codec):
            raise UserError(
                f"{self.path / DATASET_FILE}: tokens of codec {self.codec['name']!r} do not "
                f"match codec {codec['name']!r} ({key} {self.codec[key]} against {codec[key]})"
            )

    def _split(self, name: str) -> dict[str, Any]:
        if name not in self._splits:
            raise UserError(f"{self.path} has no split {name!r}, only {', '.join(self._splits)}")
        return self._splits[name]

    def _where(self, shard: Mapping[str, Any], position: int) -> str:
        return f"{self.path / shard['file']}: record {position}"

    def _version(self) -> tuple[int, int] | None:
        """Size and time of the description; None where there is none."""
        try:
            stat = (self.path / DATASET_FILE).stat()
        except FileNotFoundError:
            return None
        return stat.st_size, stat.st_mtime_ns

    def _check_size(self, shard: Mapping[str, Any]) -> None:
        path = self.path / shard["file"]
        if not path.is_file():
            raise UserError(f"{path} is missing: {DATASET_FILE} lists it")
        if path.stat().st_size != shard["num_bytes"]:
            raise UserError(
                f"{path} has {path.stat().st_size} bytes, {DATASET_FILE} says "
                f"{shard['num_bytes']}: it was cut short or changed"
            )

    def _reader(self, shard: Mapping[str, Any]) -> ArrayRecordReader:
        with self._lock:
            if shard["file"] not in self._readers:
                reader = ArrayRecordReader(str(self.path / shard["file"]), _READER_OPTIONS)
                # Before a dataset that grows puts other shards there, its description goes.
                if self._version() != self._opened:
                    raise UserError(
                        f"{self.path / DATASET_FILE} has changed since it was opened: start again "
                        "with what is there now"
                    )
                self._readers[shard["file"]] = reader
            return self._readers[shard["file"]]

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_readers", "_lock")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _readers={}, _lock=threading.Lock())
