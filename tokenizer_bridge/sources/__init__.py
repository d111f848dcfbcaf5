"""The sources of tracks: a folder, or a published data set in its own layout.

A source is a module with `tracks(directory, …) -> list[Track]`, sorted by id.
"""

import os
from collections.abc import Callable, Mapping

from tokenizer_bridge.sources import folder, mtg_jamendo, nlakh
from tokenizer_bridge.sources.track import (
    Failure,
    Track,
    draw,
    fingerprint,
    longest_first,
    subset,
)
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import require_folder

__all__ = [
    "SOURCES",
    "Failure",
    "Track",
    "detect",
    "draw",
    "fingerprint",
    "load",
    "locate",
    "longest_first",
    "subset",
]

SOURCES = ("folder", "mtg_jamendo", "nlakh")


def detect(directory: str | os.PathLike) -> str:
    """The name of the source whose layout a directory has; "folder" for any other.

    Raises UserError if there is no such directory.
    """
    root = require_folder(directory)
    if nlakh.is_layout_of(root):
        return "nlakh"
    return "mtg_jamendo" if mtg_jamendo.is_layout_of(root) else "folder"


def locate(place: str) -> tuple[str, str]:
    """Source and directory of DIR, whose layout tells the source, or SOURCE:DIR, which says it.

    Raises UserError if there is no such directory.
    """
    source, colon, directory = place.partition(":")
    if colon and source in SOURCES:
        detect(directory)  # is it there?
        return source, directory
    return detect(place), place


def load(
    name: str,
    directory: str | os.PathLike,
    *,
    num_tracks: int | None = None,
    seed: int = 0,
    metadata: str | os.PathLike | None = None,
    split_files: Mapping[str, str | os.PathLike] | None = None,
    bitrate: str = "auto",
    checksums: str | os.PathLike | None = None,
    tags: str = "none",
    tell: Callable[[str], None] = lambda line: None,
) -> list[Track]:
    """The tracks of the source `name` (one of SOURCES) in a directory, sorted by id.

    num_tracks, seed: a subset, as `subset` chooses it; all tracks without. metadata, split_files,
    bitrate, checksums: of MTG-Jamendo, see `mtg_jamendo.tracks`. tags: of folders, see
    `folder.tracks`. tell: called with lines that people should see. Raises UserError for an option
    that the source does not have, and for everything that makes the input unusable as a whole; a
    file that is missing or damaged is seen when it is read.
    """
    jamendo = {"metadata": metadata, "split_files": split_files, "checksums": checksums}
    if name != "mtg_jamendo":
        for option, value in (jamendo | {"bitrate": bitrate}).items():
            if value not in (None, "auto"):
                raise UserError(f"{option}: only the source mtg_jamendo has it, not {name}")
    if name != "folder" and tags != "none":
        raise UserError(f"tags={tags}: only the source folder has it, not {name}")
    match name:
        case "folder":
            tracks = folder.tracks(directory, tags, tell)
        case "mtg_jamendo":
            tracks = mtg_jamendo.tracks(directory, **jamendo, bitrate=bitrate)
        case "nlakh":
            tracks = nlakh.tracks(directory)
        case _:
            raise UserError(f"source {name!r} is unknown: one of {', '.join(SOURCES)}")
    return tracks if num_tracks is None else subset(tracks, num_tracks, seed)
