"""The arguments by which a command is told what music to take."""

import argparse
import os
from typing import Any

from tokenizer_bridge import sources
from tokenizer_bridge.sources import Track, mtg_jamendo
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    local_path,
    local_paths,
    path_or_url,
)
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import as_text
from tokenizer_bridge.token_dataset.paths import is_url

_NAMED = 5  # files without a decoder


def add_source_arguments(parser: Parser, *, stored: bool = False) -> None:
    """--audio, --source, and how tracks, their splits and tags are taken from them.

    stored: whether --audio may be a URL of an object store.
    """
    group = parser.add_argument_group("music")
    group.add_argument(
        "--audio",
        type=path_or_url if stored else local_path,
        required=True,
        metavar="MUSIC",
        help="Folder of audio files, as --source says, or a single file"
        + (", or a URL of either." if stored else "."),
    )
    group.add_argument(
        "--source", choices=sources.SOURCES, help="How MUSIC is laid out (default: folder)."
    )
    group.add_argument("--num_tracks", type=integer(1), help="Take so many tracks only.")
    group.add_argument(
        "--seed", type=integer(0), default=0, help="Of all that is drawn, such as --num_tracks."
    )
    group.add_argument(
        "--metadata",
        type=local_path,
        metavar="TSV",
        help="MTG-Jamendo: an official TSV; else the one in MUSIC.",
    )
    group.add_argument(
        "--split_files",
        type=parse_split_files,
        metavar="SPLIT=TSV,…",
        help="MTG-Jamendo: official split files, as train=TSV,validation=TSV,test=TSV.",
    )
    group.add_argument(
        "--bitrate",
        choices=mtg_jamendo.BITRATES,
        default="auto",
        help="MTG-Jamendo: N.mp3 (full), N.low.mp3 (low), or whichever there is (auto).",
    )
    group.add_argument(
        "--checksums",
        type=local_path,
        metavar="FILE",
        help="MTG-Jamendo: a published ..._sha256_tracks.txt, to check files against.",
    )
    group.add_argument(
        "--tags",
        type=local_path,
        default="none",
        help="Folder: tags are none, folders, metadata (of the files) or the path of a CSV.",
    )


def source_of(arguments: argparse.Namespace) -> str:
    """The source's name."""
    return arguments.source or "folder"


def load_tracks(arguments: argparse.Namespace) -> list[Track]:
    """The tracks that are asked for; prints what people should know. Raises UserError."""
    if not is_url(arguments.audio):
        return _load_tracks(arguments, arguments.audio)
    from tokenizer_bridge.sources.stored import StoredMusic

    if arguments.tags == "metadata":
        raise UserError(
            "--tags=metadata reads all files before the first is encoded: copy them here, or take "
            "tags from folders or a CSV"
        )
    music = StoredMusic(arguments.audio)
    with music.naming():
        return music.tracks(_load_tracks(arguments, str(music.path)))


def _load_tracks(arguments: argparse.Namespace, audio: str) -> list[Track]:
    from tokenizer_bridge.audio.opening import GET_FFMPEG, lacking_ffmpeg  # NumPy, for --help none

    if arguments.source is None and os.path.isdir(audio):
        # Taken for folders of artists, a layout's folders would let artists leak between splits.
        if (layout := sources.detect(audio)) != "folder":
            raise UserError(
                f"{audio} has the layout of {layout}: say --source={layout}, or --source=folder if "
                "it is none"
            )
    tracks = sources.load(
        source_of(arguments),
        audio,
        num_tracks=arguments.num_tracks,
        seed=arguments.seed,
        metadata=arguments.metadata,
        split_files=arguments.split_files,
        bitrate=arguments.bitrate,
        checksums=arguments.checksums,
        tags=arguments.tags,
        tell=print,
    )
    if missing := [track for track in tracks if not track.path.exists()]:
        print(f"{len(missing)} of {len(tracks)} files are missing, the first is {missing[0].path}")
    if lacking := lacking_ffmpeg(track.path for track in tracks):
        names = ", ".join(as_text(path.name) for path in lacking[:_NAMED])
        more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
        print(
            f"{len(lacking)} of {len(tracks)} files need ffmpeg, which is not on the PATH, and "
            f"will be left out: {names}{more}; {GET_FFMPEG}, and start again"
        )
    return tracks


def given_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that are not at their defaults, as dataset.json keeps them: files by name."""
    options: dict[str, Any] = {}
    if arguments.num_tracks is not None:
        options |= {"num_tracks": arguments.num_tracks, "seed": arguments.seed}
    defaults = {"metadata": None, "bitrate": "auto", "checksums": None, "tags": "none"}
    for name, default in defaults.items():
        if (value := getattr(arguments, name)) != default:
            options[name] = os.path.basename(value)
    if files := arguments.split_files:
        options["split_files"] = {split: os.path.basename(path) for split, path in files.items()}
    return options


def parse_split_files(text: str) -> dict[str, str]:
    """The type of --split_files: split → path."""
    files: dict[str, str] = {}
    for item in local_paths(text).split(","):
        split, equals, path = item.strip().partition("=")
        if not equals or not path or split in files:
            raise argparse.ArgumentTypeError(
                f"{item!r} must be SPLIT=TSV, each split once, with commas between"
            )
        files[split] = path
    return files
