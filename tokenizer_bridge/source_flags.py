"""The flags by which a door is told what music to take."""

import os
from typing import Any

from absl import flags

from tokenizer_bridge import sources
from tokenizer_bridge.sources import Track, mtg_jamendo
from tokenizer_bridge.token_dataset.errors import UserError

_SOURCE = flags.DEFINE_enum("source", "folder", sources.SOURCES, "What --input is.")
_INPUT = flags.DEFINE_string("input", None, "Folder of audio files.", required=True)
_NUM_TRACKS = flags.DEFINE_integer("num_tracks", None, "Take so many tracks only.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of all that is drawn, such as which --num_tracks.", 0)
_METADATA = flags.DEFINE_string(
    "metadata", None, "MTG-Jamendo: an official TSV; else the only one in --input."
)
_SPLIT_FILES = flags.DEFINE_list(
    "split_files", None, "MTG-Jamendo: official split files, as train=TSV,validation=TSV,test=TSV."
)
_BITRATE = flags.DEFINE_enum(
    "bitrate", "auto", mtg_jamendo.BITRATES, "MTG-Jamendo: N.mp3 (full), N.low.mp3 (low), or auto."
)
_CHECKSUMS = flags.DEFINE_string(
    "checksums", None, "MTG-Jamendo: a published ..._sha256_tracks.txt, to check files against."
)
_TAGS = flags.DEFINE_string(
    "tags", "none", "Folder: tags are none, folders, metadata (of the files) or the path of a CSV."
)


def load_tracks() -> list[Track]:
    """The tracks that the flags ask for; prints what people should know. Raises UserError."""
    if not _SOURCE.present and (layout := _layout()) != _SOURCE.value:
        # Taken for folders of artists, its folders would let artists leak between splits.
        raise UserError(
            f"--input={_INPUT.value} has the layout of {layout}: say --source={layout}, or "
            f"--source={_SOURCE.value} if it is none"
        )
    tracks = sources.load(
        _SOURCE.value,
        _INPUT.value,
        num_tracks=_NUM_TRACKS.value,
        seed=_SEED.value,
        metadata=_METADATA.value,
        split_files=_split_files(),
        bitrate=_BITRATE.value,
        checksums=_CHECKSUMS.value,
        tags=_TAGS.value,
        tell=print,
    )
    if missing := [track for track in tracks if not track.path.exists()]:
        print(f"{len(missing)} of {len(tracks)} files are missing, the first is {missing[0].path}")
    return tracks


def source() -> str:
    """The source's name."""
    return _SOURCE.value


def given_options() -> dict[str, Any]:
    """The options that are not at their defaults, as dataset.json keeps them: files by name."""
    options: dict[str, Any] = {}
    if _NUM_TRACKS.value is not None:
        options |= {"num_tracks": _NUM_TRACKS.value, "seed": _SEED.value}
    for flag in (_METADATA, _BITRATE, _CHECKSUMS, _TAGS):
        if flag.value != flag.default:
            options[flag.name] = os.path.basename(flag.value)
    if files := _split_files():
        options["split_files"] = {split: os.path.basename(path) for split, path in files.items()}
    return options


def _layout() -> str:
    """The source that --input looks like; what cannot be looked into is left to the source."""
    return sources.detect(_INPUT.value) if os.path.isdir(_INPUT.value) else _SOURCE.value


def _split_files() -> dict[str, str] | None:
    """Split -> path. Raises UserError."""
    if _SPLIT_FILES.value is None:
        return None
    files: dict[str, str] = {}
    for item in _SPLIT_FILES.value or [""]:
        split, equals, path = item.partition("=")
        if not equals or not path or split in files:
            raise UserError(
                f"--split_files: {item!r} must be SPLIT=TSV, each split once, with commas between"
            )
        files[split] = path
    return files
