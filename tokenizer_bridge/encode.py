"""Encodes audio files into a token dataset.

    python -m tokenizer_bridge.encode --source=folder --audio=MUSIC --codec=demo --output=TOKENS

--source says how MUSIC is laid out (tokenizer_bridge/sources): files in folders, MTG-Jamendo or
Nlakh. Killed, the same command goes on where it stopped; with more files in MUSIC it adds those.

Files without usable audio are listed with the reason in OUTPUT/failures.jsonl: missing, unreadable,
empty, cut short, shorter than 0.1 s, samples that are not finite, or silent from end to end; with
--checksums, those that differ. Channels are mixed (--channels), and what lies below hearing is
removed (--low_cut_hz). Everything else is left as it is, unless --drop_silence, --noise_reduction
or --loudness_lufs ask for clean audio (tokenizer_bridge/cleaning says how): then each record says
in `source` what was done to it. --dry_run encodes nothing; it says how much silence there is at
several thresholds.

Tracks longer than --window_s are encoded in overlapping windows. They change no code: measured on
2 min of music with the demo codec from 0.5 s of overlap on, and on 30 s with a random network of
full size from 1 s on; without overlap, 1 % of the codes of 6 s windows change. Larger batches round
differently: with --batch_size=1 the tokens depend on the audio and the kind of processor alone.

--vectors=clip:FOLDER puts a vector a track into its record, from an .npy file in FOLDER for each.

To share the work, give each machine its own --shard=i/n (0 ≤ i < n) and the same --output on a
shared disk; the last to finish writes dataset.json. --num_workers starts several processes here.
--output may be a URL of an object store, such as gs://bucket/tokens, in place of a shared disk
(tokenizer_bridge/encoding/output.py): what is done goes there every minute.
"""

import argparse
import re
from collections.abc import Sequence

from tokenizer_bridge.audio.choices import CHANNELS, ENCODING, LOW_CUT_HZ
from tokenizer_bridge.audio.decoder_notes import without_decoder_notes
from tokenizer_bridge.cleaning import Cleaning
from tokenizer_bridge.cleaning.bounds import Activity
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.source_arguments import (
    add_source_arguments,
    given_options,
    load_tracks,
    source_of,
)
from tokenizer_bridge.sources.splits import WAYS
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    local_path,
    local_paths,
    number,
    path_or_url,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError

# Argument, field of Activity and help, of what only --drop_silence uses.
_ACTIVITY = (
    ("active_on_db", "on_db", "music begins above it; dB relative to the track's level"),
    ("active_off_db", "off_db", "music ends below it; likewise"),
    ("min_active_s", "min_active_s", "what is shorter is dropped as well"),
    ("min_silent_s", "min_silent_s", "what is shorter stays"),
    ("padding_s", "padding_s", "what stays before and after music"),
)


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--output",
        type=path_or_url,
        required=True,
        metavar="TOKENS",
        help="Directory of the token dataset, or its URL.",
    )
    add("--codec", default="demo", help="Name of the codec.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with a codec's weights and YAML.",
    )
    add("--device", default="cpu", help="cpu, cuda (workers share out the GPUs), cuda:0 …")
    add(
        "--batch_size",
        type=integer(1),
        default=1,
        help="Windows in a batch: more is faster on a GPU, or with short clips.",
    )
    add("--window_s", type=number(), default=ENCODING[0], help="Seconds that are encoded at once.")
    add("--overlap_s", type=number(), default=ENCODING[1], help="Seconds that two windows share.")
    add("--num_workers", type=integer(1), default=1, help="Processes on this machine.")
    add(
        "--shard",
        type=parse_shard,
        default="0/1",
        metavar="I/N",
        help="Do only the i-th of n parts, from 0.",
    )
    add(
        "--splits",
        choices=WAYS,
        help="How validation and test are held out: whole artists or tracks, the end of every "
        "track, or nothing (default: by_artist; within_track for fewer than 5 tracks; splits that "
        "the source has itself).",
    )
    add(
        "--dry_run",
        action="store_true",
        help="Read all files and vectors; say what cannot be used and how much is silence.",
    )
    add_source_arguments(parser, stored=True)
    add(
        "--vectors",
        type=parse_vectors,
        action="extend",
        default=[],
        metavar="KIND:FOLDER,…",
        help="Put a vector of this kind into each record, from FOLDER's .npy files, one a track.",
    )
    prepare = parser.add_argument_group("preparation").add_argument
    prepare(
        "--channels",
        choices=CHANNELS,
        default="mean",
        help="Channels that are taken; the mean is the loudest alone where they cancel.",
    )
    prepare(
        "--low_cut_hz",
        type=number(0),
        default=LOW_CUT_HZ,
        metavar="HZ",
        help="Remove what is below hearing, a constant offset too; 0 for nothing.",
    )
    clean = parser.add_argument_group("cleaning").add_argument
    clean("--drop_silence", action="store_true", help="Drop long silence from tracks.")
    clean(
        "--silence_db",
        type=number(-80, 0),
        metavar="DB",
        help="Drop what stays so far below the track's level, such as -40; --dry_run shows shares.",
    )
    for name, field, text in _ACTIVITY:
        default = getattr(Activity, field)
        clean(f"--{name}", type=number(), help=f"With --drop_silence: {text} (default: {default}).")
    clean(
        "--noise_reduction",
        type=number(0, 1),
        default=0.0,
        metavar="SHARE",
        help="Share of steady noise to take away, 0 to 1.",
    )
    clean(
        "--loudness_lufs",
        type=number(),
        metavar="LUFS",
        help="Bring tracks to this loudness, such as -23.",
    )
    return parser


@without_decoder_notes()
def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    cleaning = cleaning_asked_for(arguments)
    vectors = vectors_asked_for(arguments)

    from tokenizer_bridge.audio.read import Preparation
    from tokenizer_bridge.jobs.encode import encode, try_out

    keep_freed_memory()
    preparation = Preparation(arguments.channels, arguments.low_cut_hz)
    if arguments.dry_run:
        print(
            try_out(
                load_tracks(arguments),
                codec=arguments.codec,
                codec_dir=arguments.codec_dir,
                preparation=preparation,
                activity=cleaning.activity if cleaning else None,
                vectors=vectors,
            )
        )
        return
    encode(
        load_tracks(arguments),
        arguments.output,
        codec=arguments.codec,
        codec_dir=arguments.codec_dir,
        device=arguments.device,
        source=source_of(arguments),
        source_options=given_options(arguments),
        preparation=preparation,
        cleaning=cleaning,
        window_s=arguments.window_s,
        overlap_s=arguments.overlap_s,
        batch_size=arguments.batch_size,
        num_workers=arguments.num_workers,
        shard=arguments.shard,
        vectors=vectors,
        splits=arguments.splits,
    )


def parse_shard(text: str) -> tuple[int, int]:
    """The type of --shard: (i, n) of "i/n"."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not int(match[1]) < int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r} must be i/n with 0 <= i < n")
    return int(match[1]), int(match[2])


def parse_vectors(text: str) -> list[tuple[str, str]]:
    """The type of --vectors: (kind, folder) of each."""
    pairs = [item.strip().partition(":") for item in local_paths(text).split(",")]
    if not all(kind and folder for kind, _, folder in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} must be KIND:FOLDER, such as clip:VECTORS")
    return [(kind, folder) for kind, _, folder in pairs]


def vectors_asked_for(arguments: argparse.Namespace) -> dict[str, str]:
    """Kind → folder. Raises UserError for a kind that is given twice."""
    folders: dict[str, str] = {}
    for kind, folder in arguments.vectors:
        if kind in folders:
            raise UserError(f"--vectors: {kind} is given twice")
        folders[kind] = folder
    return folders


def cleaning_asked_for(arguments: argparse.Namespace) -> Cleaning | None:
    """The cleaning that the arguments ask for; None if none. Raises UserError."""
    given = {field: getattr(arguments, name) for name, field, _ in _ACTIVITY}
    drops = arguments.drop_silence or arguments.silence_db is not None
    if not drops:
        for name, field, _ in _ACTIVITY:
            if given[field] is not None:
                raise UserError(f"--{name}: needs --drop_silence")
    if arguments.silence_db is not None:
        if given["on_db"] is not None or given["off_db"] is not None:
            raise UserError("--silence_db stands for both --active_on_db and --active_off_db")
        given |= {"on_db": arguments.silence_db, "off_db": arguments.silence_db}
    given = {field: value for field, value in given.items() if value is not None}
    activity = Activity(**given) if drops else None
    cleaning = Cleaning(activity, arguments.noise_reduction, arguments.loudness_lufs)
    return None if cleaning.does_nothing else cleaning


if __name__ == "__main__":
    run_command(main)
