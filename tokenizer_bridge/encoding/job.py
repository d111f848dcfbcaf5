"""Encoding a source into a token dataset, by one or many workers, resumable at any moment.

Each worker logs the tracks of its shard as they are done (worklog.py). Whoever finds every track
in the logs assembles the dataset, in the order of the source, so that it does not depend on the
number of workers or on how often they were killed.
"""

import contextlib
import functools
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgpack

from tokenizer_bridge.audio.ffmpeg import find_ffmpeg
from tokenizer_bridge.audio.opening import GET_FFMPEG
from tokenizer_bridge.audio.read import PREPARATION, Preparation
from tokenizer_bridge.audio.windows import Windowing
from tokenizer_bridge.cleaning import Cleaning
from tokenizer_bridge.encoding.division import divide
from tokenizer_bridge.encoding.growth import keep, put_in_place, read_kept
from tokenizer_bridge.encoding.progress_log import WorkIndex, WorkLog, require_equal, settings_agree
from tokenizer_bridge.encoding.tracks import Encoded, encode_tracks
from tokenizer_bridge.encoding.unfinished import Ended, locked, remove_set_aside, set_aside
from tokenizer_bridge.encoding.vectors import VectorFiles
from tokenizer_bridge.sources import Failure, Track, fingerprint, longest_first
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import as_text, atomic_file
from tokenizer_bridge.token_dataset.records import (
    DATASET_FILE,
    Record,
    TokenDataset,
    TokenDatasetWriter,
)
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

FAILURES_FILE = "failures.jsonl"
MODEL_FILES = ("checkpoints", "model.safetensors")  # of a run, of an exported model
_NUM_REASONS = 3  # that are told when no file could be used


@dataclass(frozen=True)
class EncodeJob:
    """One token dataset that is to be made, and what it is made of.

    codec: as in dataset.json. window_s, overlap_s: of long tracks, in seconds. source_options: by
    which the source chose the tracks (JSON values), for dataset.json. preparation, cleaning: of
    every track. vectors: what goes into the records beside the codes. splits: one of the WAYS of
    sources/splits.py, even if the source has splits of its own; None for these, else the default.
    """

    output: Path
    source: str
    tracks: tuple[Track, ...]
    codec: Mapping[str, Any]
    window_s: float
    overlap_s: float
    source_options: Mapping[str, Any] = field(default_factory=dict)
    cleaning: Cleaning | None = None
    vectors: VectorFiles = VectorFiles()
    preparation: Preparation = PREPARATION
    splits: str | None = None

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """All that a resumed run must share with the one before, but the codec."""
        # In this order they are compared: what was asked for, then what came of it.
        settings = {
            "source": self.source,
            "source_options": dict(self.source_options),
            "preparation": self.preparation.settings(),
            "cleaning": self.cleaning.settings() if self.cleaning is not None else {},
            "window_s": self.window_s,
            "overlap_s": self.overlap_s,
            "num_files": len(self.tracks),
            "files_sha256": fingerprint(self.tracks),
            "vectors": self.vectors.settings(),
            "splits": self.splits or {},
        }
        return {key: value for key, value in settings.items() if value != {}}

    @property
    def all_settings(self) -> dict[str, Any]:
        """All that a resumed run must share with the one before."""
        return self.settings | {"codec": dict(self.codec)}

    @property
    def unfinished(self) -> Path:
        """The directory of the workers' logs; gone when the dataset is whole."""
        return self.output / "unfinished"

    @property
    def windowing(self) -> Windowing:
        codes_per_s = self.codec["sample_rate"] / self.codec["hop_length"]
        return Windowing.from_seconds(self.window_s, self.overlap_s, codes_per_s)

    def shard(self, index: int, count: int) -> tuple[Track, ...]:
        """The tracks of one worker of `count`, the longest first.

        So the last hour is not one long track. All workers see the same order, wherever they are.
        """
        order = longest_first(self.tracks)
        # Dealt to and fro, so that the first worker does not get the longer one of every round.
        return tuple(
            track
            for place, track in enumerate(order)
            if index == (place % count if place // count % 2 == 0 else count - 1 - place % count)
        )


def prepare_output(job: EncodeJob) -> TokenDataset | None:
    """Prepare the output directory for workers, or return the dataset if it is whole already.

    A dataset of the same settings and of fewer of the tracks is kept: it will grow. Raises
    UserError if what is there, whole or unfinished, is being made with other settings, or is a run
    or an exported model, which could not be trained or loaded any more.
    """
    for name in MODEL_FILES:
        if (job.output / name).exists():
            raise UserError(f"{job.output} holds a model ({name}): choose another directory")
    while (dataset := _find_whole(job)) is None:
        job.unfinished.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(Ended), locked(job.unfinished):
            if _find_whole(job) is not None:  # another worker was assembling it
                set_aside(job.unfinished)
                continue
            settings_agree(job.unfinished, job.all_settings)
            if (job.output / DATASET_FILE).exists():
                keep(TokenDataset(job.output), read_failures(job), job.unfinished)
            return None
    return dataset


def grows(job: EncodeJob) -> bool:
    """True while a dataset is unfinished that was whole with fewer tracks."""
    return read_kept(job.unfinished) is not None


def encode_shard(
    job: EncodeJob,
    codec: WavTokenizer,
    shard_index: int,
    num_shards: int,
    batch_size: int,
    on_tracks: Callable[[int], None],
    on_audio: Callable[[float], None],
    num_threads: int | None = None,
) -> None:
    """Encode what is left of a shard. `on_tracks` is told of every track that is done, first of
    those done earlier; `on_audio` of seconds encoded. num_threads: as of `encode_tracks`.
    """
    log_path = job.unfinished / f"{shard_index:05d}-of-{num_shards:05d}.log"
    shard = job.shard(shard_index, num_shards)
    try:
        log = WorkLog(log_path)
    except FileNotFoundError:
        if _find_whole(job) is None:
            raise
        on_tracks(len(shard))  # other workers had all tracks, and have assembled them meanwhile
        return
    with log:
        done = WorkIndex(job.unfinished)
        todo = [
            track
            for track in shard
            if track.id not in done or lacked_ffmpeg(done.failures.get(track.id))
        ]
        on_tracks(len(shard) - len(todo))
        results = encode_tracks(
            codec,
            todo,
            job.windowing,
            batch_size,
            on_audio,
            job.cleaning,
            num_threads,
            job.preparation,
        )
        for result in results:
            log.append(_payload(result))
            on_tracks(1)


def num_left(job: EncodeJob) -> int:
    """The number of tracks that no worker has done yet."""
    done = WorkIndex(job.unfinished)
    return sum(track.id not in done for track in job.tracks)


def assemble(job: EncodeJob) -> TokenDataset | None:
    """Write the dataset if every track is done, or return None.

    Raises UserError if no file could be used; OSError or RuntimeError if the disk is full.
    """
    try:
        with locked(job.unfinished):
            if (dataset := _find_whole(job)) is None:
                done = WorkIndex(job.unfinished)
                if any(track.id not in done for track in job.tracks):
                    return None
                _write_failures(job, done)
                _write_dataset(job, done)
                dataset = TokenDataset(job.output)
            set_aside(job.unfinished)
            return dataset
    except FileNotFoundError:
        # Another worker, done at the same time, has written the dataset and removed the logs.
        if (dataset := _find_whole(job)) is None:
            raise
        return dataset
    finally:
        remove_set_aside(job.unfinished)


def read_failures(job: EncodeJob) -> list[dict[str, str]]:
    """Files that could not be used, {id, file, reason}, as the output directory lists them."""
    with open(job.output / FAILURES_FILE, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def lacked_ffmpeg(failure: Mapping[str, Any] | None) -> bool:
    """True for a file that only wanted ffmpeg, which is there now."""
    return failure is not None and GET_FFMPEG in failure["reason"] and find_ffmpeg() is not None


def _find_whole(job: EncodeJob) -> TokenDataset | None:
    if not (job.output / DATASET_FILE).exists():
        return None
    dataset = TokenDataset(job.output)
    made_with = dataset.origin | {"codec": dataset.codec}
    if job.splits is None:  # then the default may have chosen
        made_with.pop("splits", None)
    settings = job.all_settings
    if made_with == settings:
        return dataset
    ids = {record.id for split in dataset.splits for record in dataset.records(split)}
    ids |= {failure["id"] for failure in read_failures(job)}
    # What is in it must be what it was, file by file, for others to be added.
    here = tuple(track for track in job.tracks if track.id in ids)
    earlier = replace(job, tracks=here, vectors=job.vectors.of(ids))
    grown = len(here) < len(job.tracks)
    require_equal(job.output, made_with, earlier.all_settings if grown else settings)
    return None


def _payload(result: Encoded | Failure) -> bytes:
    if isinstance(result, Failure):
        entry = {"id": result.id, "file": as_text(result.path), "reason": result.reason}
        return msgpack.packb(entry, unicode_errors="backslashreplace")
    track = result.track
    source: dict[str, Any] = {"file": track.file or track.id, "audio": result.digest}
    if result.channel is not None:
        source["channel"] = result.channel
    if result.cleaning:
        source["cleaning"] = dict(result.cleaning)
    return Record(
        id=track.id,
        tokens=result.codes,
        duration_s=result.duration_s,
        artist=track.artist,
        tags=track.tags,
        source=source,
    ).to_bytes()


def _write_failures(job: EncodeJob, done: WorkIndex) -> None:
    with atomic_file(job.output / FAILURES_FILE) as path, open(path, "w", encoding="utf-8") as file:
        for track in job.tracks:
            if track.id in done.failures:
                file.write(json.dumps(done.failures[track.id], ensure_ascii=False) + "\n")


def _write_dataset(job: EncodeJob, done: WorkIndex) -> None:
    usable = [track for track in job.tracks if track.id not in done.failures]
    if not usable:
        set_aside(job.unfinished)
        first = [done.failures[track.id] for track in job.tracks[:_NUM_REASONS]]
        reasons = "; ".join(f"{failure['id']}: {failure['reason']}" for failure in first)
        all_are = f"; all are in {job.output / FAILURES_FILE}"
        raise UserError(
            f"none of the {len(job.tracks)} files could be used: {reasons}"
            + (all_are if len(job.tracks) > len(first) else "")
        )
    contents = {
        track.id: _record(job, done, track).source.get("audio", track.id) for track in usable
    }
    kept = read_kept(job.unfinished)
    division = divide(usable, contents, job.splits, *((kept.splits, kept.way) if kept else ()))
    origin = job.settings | division.origin
    widths = job.vectors.widths
    place = job.unfinished / "grown" if kept else job.output
    shutil.rmtree(job.unfinished / "grown", ignore_errors=True)  # of a process that was killed
    with TokenDatasetWriter(place, job.codec, origin, vectors=widths) as writer:
        for track in usable:
            record = replace(_record(job, done, track), vectors=job.vectors.read(track.id))
            for split, part in division.parts(record):
                writer.write(split, part)
    if kept:
        put_in_place(place, job.output)


def _record(job: EncodeJob, done: WorkIndex, track: Track) -> Record:
    return Record.from_bytes(done.record(track.id), job.codec["codebook_size"])
