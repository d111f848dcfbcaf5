"""Encodes audio files into a token dataset.

    python -m tokenizer_bridge.encode --source=folder --input=MUSIC --codec=demo --output=TOKENS

--source says how --input is laid out (tokenizer_bridge/sources): files in folders, MTG-Jamendo or
Nlakh. Killed or interrupted, the same command goes on where it stopped.

Files without usable audio are listed with the reason in OUTPUT/failures.jsonl: missing, unreadable,
empty, cut short, shorter than 0.1 s, samples that are not finite, or silent from end to end; with
--checksums, those that differ. Everything else is left as it is, unless --drop_silence,
--noise_reduction or --loudness_lufs ask for clean audio (tokenizer_bridge/cleaning says how): then
each record says in `source` what was done to it.

Tracks longer than --window_s are encoded in overlapping windows. They change no code: measured on
2 min of music with the demo codec from 0.5 s of overlap on, and on 30 s with a random network of
full size from 1 s on; without overlap, 1 % of the codes of 6 s windows change. Larger batches round
differently: with --batch_size=1 the tokens depend on the audio and the number of threads alone.

To share the work, give each machine its own --shard=i/n (0 ≤ i < n) and the same --output on a
shared disk; the last to finish writes dataset.json. --num_workers starts several processes here.
"""

import re
import time
from pathlib import Path

from absl import flags
from tqdm import tqdm

from tokenizer_bridge import source_flags
from tokenizer_bridge.audio.windows import ENCODING
from tokenizer_bridge.cleaning import Cleaning
from tokenizer_bridge.cleaning.activity import Activity
from tokenizer_bridge.encoding.job import (
    FAILURES_FILE,
    EncodeJob,
    assemble,
    encode_shard,
    num_left,
    prepare_output,
    read_failures,
)
from tokenizer_bridge.encoding.workers import CodecChoice, run_workers
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.sources.splits import SPLITS
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.wavtokenizer.registry import load_codec

flags.adopt_module_key_flags(source_flags)
_CODEC = flags.DEFINE_string("codec", "demo", "Name of the codec.")
_CODEC_DIR = flags.DEFINE_string("codec_dir", None, "Folder with a codec's weights and YAML.")
_OUTPUT = flags.DEFINE_string("output", None, "Directory of the token dataset.", required=True)
_SHARD = flags.DEFINE_string("shard", "0/1", "i/n: do only the i-th of n parts, from 0.")
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 1, "Processes on this machine.", lower_bound=1)
_WINDOW_S = flags.DEFINE_float("window_s", ENCODING[0], "Seconds that are encoded at once.")
_OVERLAP_S = flags.DEFINE_float("overlap_s", ENCODING[1], "Seconds that two windows share.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 1, "Windows in a batch: more is faster on a GPU, or with short clips.", 1
)
_DEVICE = flags.DEFINE_string("device", "cpu", "PyTorch device, such as cpu or cuda:0.")

_DROP_SILENCE = flags.DEFINE_bool("drop_silence", False, "Drop long silence from tracks.")
_ACTIVITY = [  # in the order of Activity's fields
    flags.DEFINE_float(name, default, f"With --drop_silence: {text}")
    for name, default, text in (
        (
            "active_on_db",
            Activity.on_db,
            "music begins above it; dB relative to the track's level.",
        ),
        ("active_off_db", Activity.off_db, "music ends below it; likewise."),
        ("min_active_s", Activity.min_active_s, "what is shorter is dropped as well."),
        ("min_silent_s", Activity.min_silent_s, "what is shorter stays."),
        ("padding_s", Activity.padding_s, "what stays before and after music."),
    )
]
_NOISE = flags.DEFINE_float("noise_reduction", 0.0, "Share of steady noise to take away, 0 to 1.")
_LUFS = flags.DEFINE_float("loudness_lufs", None, "Bring tracks to this loudness, such as -23.")


def main(argv: list[str]) -> None:
    del argv
    keep_freed_memory()
    shard_index, num_shards = parse_shard(_SHARD.value)
    tracks = source_flags.load_tracks()
    codec, info = load_codec(_CODEC.value, codec_dir=_CODEC_DIR.value, device=_DEVICE.value)
    job = EncodeJob(
        output=Path(_OUTPUT.value),
        source=source_flags.source(),
        tracks=tuple(tracks),
        codec=vars(info),
        window_s=_WINDOW_S.value,
        overlap_s=_OVERLAP_S.value,
        source_options=source_flags.given_options(),
        cleaning=cleaning_asked_for(),
    )
    if (dataset := prepare_output(job)) is not None:
        print(f"whole already, nothing to do: {describe(job, dataset)}")
        return

    # Worker j of k of shard i of n is shard i·k + j of n·k.
    k = _NUM_WORKERS.value
    shards = [(shard_index * k + j, num_shards * k) for j in range(k)]
    num_tracks = sum(len(job.shard(*shard)) for shard in shards)
    started, seconds = time.monotonic(), 0.0
    with tqdm(total=num_tracks, unit="file", desc="encode", smoothing=0.1) as bar:

        def on_audio(more_seconds: float) -> None:
            nonlocal seconds
            seconds += more_seconds
            speed = seconds / (time.monotonic() - started)
            bar.set_postfix_str(f"{seconds / 60:.0f} min of audio, {speed:.0f}x real time")

        if k == 1:
            encode_shard(job, codec, *shards[0], _BATCH_SIZE.value, bar.update, on_audio)
        else:
            del codec
            choice = CodecChoice(_CODEC.value, _CODEC_DIR.value, _DEVICE.value)
            run_workers(job, choice, shards, _BATCH_SIZE.value, bar.update, on_audio)

    if (dataset := assemble(job)) is not None:
        print(describe(job, dataset))
    else:
        print(
            f"shard {_SHARD.value} is done; {num_left(job)} of {len(job.tracks)} files are left "
            "to the other shards"
        )


def parse_shard(text: str) -> tuple[int, int]:
    """(i, n) of "i/n". Raises UserError."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise UserError(f"--shard={text}: must be i/n with 0 <= i < n")
    return int(match[1]), int(match[2])


def cleaning_asked_for() -> Cleaning | None:
    """What the flags ask for; None if nothing. Raises UserError."""
    if not _DROP_SILENCE.value:
        for flag in _ACTIVITY:
            if flag.present:
                raise UserError(f"--{flag.name}: needs --drop_silence")
    activity = Activity(*(flag.value for flag in _ACTIVITY)) if _DROP_SILENCE.value else None
    cleaning = Cleaning(activity, _NOISE.value, _LUFS.value)
    return None if cleaning.does_nothing else cleaning


def describe(job: EncodeJob, dataset: TokenDataset) -> str:
    """One or two lines on a dataset: what is in it, and what could not be used."""
    lengths = {split: dataset.lengths(split) for split in dataset.splits}
    tokens = sum(int(length.sum()) for length in lengths.values())
    hours = tokens * job.codec["hop_length"] / job.codec["sample_rate"] / 3600
    splits = ", ".join(f"{split} {len(length)}" for split, length in lengths.items())
    text = f"{job.output}: {hours:.2f} h of audio, {tokens:,} tokens; tracks: {splits}"
    if missing := [split for split in SPLITS if split not in lengths]:
        text += (
            f"\nno {' and no '.join(missing)} split: too few artists or tracks to set one apart "
            "(tokenizer_bridge/sources/splits.py)"
        )
    if job.cleaning is not None:
        records = (record for split in dataset.splits for record in dataset.records(split))
        figures = ((record.duration_s, record.source["cleaning"]) for record in records)
        text += "".join(f"\n{line}" for line in job.cleaning.summary(figures))
    if failures := read_failures(job):
        first = failures[0]
        text += (
            f"\n{len(failures)} of {len(job.tracks)} files could not be used, the first is "
            f"{first['id']} ({first['reason']}): all are in {job.output / FAILURES_FILE}"
        )
    return text


if __name__ == "__main__":
    run_door(main)
