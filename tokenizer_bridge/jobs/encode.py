"""Encoding: tracks become a token dataset, or are tried out, with a progress bar."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from tokenizer_bridge.audio.choices import ENCODING
from tokenizer_bridge.audio.read import PREPARATION, Preparation
from tokenizer_bridge.cleaning import Cleaning
from tokenizer_bridge.cleaning.bounds import Activity
from tokenizer_bridge.encoding.description import describe
from tokenizer_bridge.encoding.dry_run import dry_run
from tokenizer_bridge.encoding.job import (
    EncodeJob,
    encode_shard,
    grows,
    num_left,
    prepare_output,
)
from tokenizer_bridge.encoding.output import Output, output_at
from tokenizer_bridge.encoding.vectors import find_vectors
from tokenizer_bridge.encoding.workers import CodecChoice, run_workers
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.token_dataset.wording import counted, in_minutes_or_hours
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.registry import load_codec


def encode(
    tracks: Sequence[Track],
    output: str | Path,
    *,
    codec: str = "demo",
    codec_dir: str | None = None,
    device: str = "cpu",
    source: str = "folder",
    source_options: Mapping[str, Any] | None = None,
    preparation: Preparation = PREPARATION,
    cleaning: Cleaning | None = None,
    window_s: float = ENCODING[0],
    overlap_s: float = ENCODING[1],
    batch_size: int = 1,
    num_workers: int = 1,
    shard: tuple[int, int] = (0, 1),
    vectors: Mapping[str, str | Path] | None = None,
    splits: str | None = None,
) -> TokenDataset | None:
    """Encodes tracks into a token dataset; None where other shards are still at work on it.

    output: its directory, or a URL, of which the dataset is the copy here. source, source_options:
    what dataset.json says of where the tracks come from. window_s and overlap_s in seconds. shard:
    (i, n), the i-th of n parts, from 0. vectors: kind → folder with an .npy file a track. splits:
    as of `EncodeJob`. Shows progress and prints what was made. Raises UserError.
    """
    vector_files = find_vectors(tracks, vectors or {})
    network, info = load_codec(codec, codec_dir=codec_dir, device=device)
    place = output_at(output)
    job = EncodeJob(
        output=place.folder.path,
        source=source,
        tracks=tuple(tracks),
        codec=vars(info),
        window_s=window_s,
        overlap_s=overlap_s,
        source_options=source_options or {},
        preparation=preparation,
        cleaning=cleaning,
        vectors=vector_files,
        splits=splits,
    )
    choice = CodecChoice(codec, codec_dir, device)
    with place.folder.naming():
        return encode_job(job, place, network, choice, shard, num_workers, batch_size)


def encode_job(
    job: EncodeJob,
    place: Output,
    network: WavTokenizer,
    choice: CodecChoice,
    shard: tuple[int, int],
    num_workers: int,
    batch_size: int,
) -> TokenDataset | None:
    """The rest of `encode`, for a job that is made at a place. choice: of the codec `network`."""
    place.fetch()
    if (dataset := prepare_output(job)) is not None:
        place.tidy(job)
        print(f"whole already, nothing to do: {place.folder.named(describe(job, dataset))}")
        return dataset

    place.begin(job)
    if grows(job):
        new = counted(num_left(job), "file", "files")
        print(f"{place.folder.place}: adds {new} to the data set that is there")
    # Worker j of k of shard i of n is shard i·k + j of n·k.
    (shard_index, num_shards), k = shard, num_workers
    shards = [(shard_index * k + j, num_shards * k) for j in range(k)]
    num_tracks = sum(len(job.shard(*part)) for part in shards)
    started, seconds = time.monotonic(), 0.0
    with place.storing(), tqdm(total=num_tracks, unit="file", desc="encode", smoothing=0.1) as bar:

        def on_tracks(more: int) -> None:
            bar.update(more)
            place.check()

        def on_audio(more_seconds: float) -> None:
            nonlocal seconds
            seconds += more_seconds
            speed = seconds / (time.monotonic() - started)
            bar.set_postfix_str(f"{seconds / 60:.0f} min of audio, {speed:.0f}x real time")

        if k == 1:
            encode_shard(job, network, *shards[0], batch_size, on_tracks, on_audio)
        else:
            del network
            run_workers(job, choice, shards, batch_size, on_tracks, on_audio)

    if (dataset := place.assemble(job)) is not None:
        print(place.folder.named(describe(job, dataset)))
    else:
        print(
            f"shard {shard_index}/{num_shards} is done; {num_left(job)} of {len(job.tracks)} files "
            "are left to the other shards"
        )
    return dataset


def try_out(
    tracks: Sequence[Track],
    *,
    codec: str = "demo",
    codec_dir: str | None = None,
    preparation: Preparation = PREPARATION,
    activity: Activity | None = None,
    vectors: Mapping[str, str | Path] | None = None,
) -> str:
    """The lines of a dry run: what can be used, and how much silence there is.

    activity: the bounds of what counts as music, of which thresholds are tried out. The others are
    as of `encode`. Shows progress. Raises UserError.
    """
    _, info = load_codec(codec, codec_dir=codec_dir)
    find_vectors(tracks, vectors or {})
    activity = activity or Activity()
    with tqdm(total=len(tracks), unit="file", desc="read", leave=False) as bar:
        found = dry_run(tracks, info.sample_rate, preparation, activity, bar.update)
    length = in_minutes_or_hours(found.seconds)
    text = f"{found.num_usable} of {len(tracks)} files can be used, {length}"
    text += "".join(f"\n  {failure.id}: {failure.reason}" for failure in found.failures)
    text += f"\nwhat stays so far below a track's level for {activity.min_silent_s:g} s and more:"
    for db in found.dropped_s:
        text += f"\n  --silence_db={db:<4g} would drop {found.share(db):6.1%}"
    return text
