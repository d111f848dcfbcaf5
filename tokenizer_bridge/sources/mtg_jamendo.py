"""MTG-Jamendo: the audio folders 00 … 99 and the official TSVs that describe them.

    48/948.mp3  or, in the low-bitrate distribution,  48/948.low.mp3

    TRACK_ID⇥ARTIST_ID⇥ALBUM_ID⇥PATH⇥DURATION⇥TAGS
    track_0000948⇥artist_000087⇥album_000149⇥48/948.mp3⇥212.7⇥mood/theme---background⇥…

The folder is the track's number mod 100. The tags fill as many columns as there are; PATH says
.mp3 for both distributions (Bogdanov et al., "The MTG-Jamendo dataset", ML4MD 2019,
github.com/MTG/mtg-jamendo-dataset).
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tokenizer_bridge.sources.splits import SPLITS
from tokenizer_bridge.sources.track import Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import require_folder

BITRATES = ("auto", "full", "low")
HEADER = ("TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS")
_COLUMNS = {  # of a row, before the tags
    "TRACK_ID": r"track_\d+",
    "ARTIST_ID": r"artist_\d+",
    "ALBUM_ID": r"album_\d+",
    "PATH": r"\d\d/\d+\.mp3",
    "DURATION": r"\d+(\.\d+)?",
}
_AUDIO = re.compile(r"(\d+)(\.low)?\.mp3")


def is_layout_of(directory: Path) -> bool:
    """True if a directory holds audio folders: NN/….mp3, NN being the number mod 100."""
    for folder in directory.glob("[0-9][0-9]"):
        for path in folder.iterdir() if folder.is_dir() else ():
            match = _AUDIO.fullmatch(path.name)
            if match and int(match[1]) % 100 == int(folder.name):
                return True
    return False


def tracks(
    directory: str | os.PathLike,
    *,
    metadata: str | os.PathLike | None = None,
    split_files: Mapping[str, str | os.PathLike] | None = None,
    bitrate: str = "auto",
    checksums: str | os.PathLike | None = None,
) -> list[Track]:
    """The tracks that official TSVs list, sorted by id (TRACK_ID); artist is ARTIST_ID.

    directory: of the folders 00 … 99. metadata: one TSV; without it and split_files, the only one
    that lies in `directory`. split_files: a TSV for each of some of the splits, which the tracks
    then keep. bitrate: "full", "low", or "auto": whichever is there. checksums: a published
    …_sha256_tracks.txt; the tracks get its SHA-256.

    Raises UserError for a file that is not as described, naming its line; a track listed twice; an
    artist in two splits; a track without a checksum; and if both kinds of files are there, or none
    of the files. Single files that are missing are seen when they are read.
    """
    root = require_folder(directory)
    if split_files and metadata:
        raise UserError("metadata and split files exclude each other: give one of them")
    if split_files:
        listed = _read_splits({split: Path(path) for split, path in split_files.items()})
    else:
        listed = read_tsv(Path(metadata) if metadata else _only_tsv(root))
    listed = _with_paths(listed, root, bitrate)
    if checksums:
        listed = _with_checksums(listed, Path(checksums))
    return sorted(listed, key=lambda track: track.id)


def read_tsv(path: Path) -> list[Track]:
    """The tracks of an official TSV in its order; their paths are PATH as it stands there.

    Raises UserError naming file and line.
    """
    found: dict[str, tuple[int, Track]] = {}  # id -> (line number, track)
    line_of: dict[str, int] = {}  # PATH -> line number
    for number, line in enumerate(_lines(path), 1):
        cells = line.split("\t")
        if number == 1:
            if tuple(cells) != HEADER:
                raise UserError(f"{path}, line 1: the header must be {' '.join(HEADER)}")
            continue
        row = dict(zip(_COLUMNS, cells, strict=False))
        for column, pattern in _COLUMNS.items():
            if not re.fullmatch(pattern, row.get(column, "")):
                value = repr(row[column]) if column in row else "missing"
                raise UserError(f"{path}, line {number}: {column} is {value}")
        track_id = row["TRACK_ID"]
        if track_id in found:
            raise UserError(
                f"{path}, line {number}: {track_id} is in line {found[track_id][0]} too"
            )
        # One file as two tracks could be in two splits.
        if (other := line_of.setdefault(row["PATH"], number)) != number:
            raise UserError(f"{path}, line {number}: {row['PATH']} is in line {other} too")
        tags = tuple(tag for tag in cells[len(_COLUMNS) :] if tag)
        track = Track(
            track_id,
            Path(row["PATH"]),
            row["ARTIST_ID"],
            tags,
            duration_s=float(row["DURATION"]),
        )
        found[track_id] = (number, track)
    if not found:
        raise UserError(f"{path}: lists no track")
    return [track for _, track in found.values()]


def _lines(path: Path) -> list[str]:
    """Lines without their CRLF or LF, blank ones at the end left out.

    Raises UserError unless the file is UTF-8.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")  # editors add a byte-order mark
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {number}: not UTF-8") from error
    return [line.removesuffix("\r") for line in text.rstrip("\r\n").split("\n")]


def _only_tsv(root: Path) -> Path:
    paths = sorted(root.glob("*.tsv"))
    if len(paths) != 1:
        raise UserError(
            f"{root} holds {len(paths)} TSVs: say which is the official one, or put it there alone"
        )
    return paths[0]


def _read_splits(split_files: Mapping[str, Path]) -> list[Track]:
    """The tracks of several TSVs with their splits. Raises UserError if they share an artist."""
    found: list[Track] = []
    split_of: dict[str, str] = {}  # artist -> split
    for split, path in split_files.items():
        if split not in SPLITS:
            raise UserError(f"{split}={path}: a split is one of {', '.join(SPLITS)}")
        for track in read_tsv(path):
            if split_of.setdefault(track.artist, split) != split:
                other = split_of[track.artist]
                raise UserError(
                    f"{track.artist} ({track.id}) is in {path} and in {split_files[other]}: "
                    "splits must not share an artist"
                )
            found.append(replace(track, split=split))
    return found


def _with_paths(listed: Sequence[Track], root: Path, bitrate: str) -> list[Track]:
    """The tracks with the paths of their files, all of one kind."""
    names = {
        "full": [track.path.as_posix() for track in listed],
        "low": [track.path.with_suffix(".low.mp3").as_posix() for track in listed],
    }
    kinds = names if bitrate == "auto" else [bitrate]
    examples = {}  # kind -> a file of that kind that is there
    for kind in kinds:
        if present := next((name for name in names[kind] if (root / name).exists()), None):
            examples[kind] = present
    if not examples:
        looked_for = " and ".join(names[kind][0] for kind in kinds)
        raise UserError(
            f"{root}: none of the {len(listed)} files is there (looked for {looked_for} …)"
        )
    if len(examples) > 1:
        raise UserError(
            f"{root} holds full and low-bitrate files ({', '.join(examples.values())}): say "
            "which bitrate to take"
        )
    (kind,) = examples
    return [
        replace(track, path=root / name, file=name)
        for track, name in zip(listed, names[kind], strict=True)
    ]


def _with_checksums(listed: Sequence[Track], path: Path) -> list[Track]:
    """The tracks with the SHA-256 of a published list (`<64 hex digits> <path>` a line)."""
    published = {}  # file -> SHA-256
    for number, line in enumerate(_lines(path), 1):
        match = re.fullmatch(r"([0-9a-f]{64}) +(\S+)", line)
        if not match:
            raise UserError(f"{path}, line {number}: not a SHA-256 and a file's name")
        if published.setdefault(match[2], match[1]) != match[1]:
            raise UserError(f"{path}, line {number}: another SHA-256 of {match[2]} is above it")
    for track in listed:
        if track.file not in published:
            raise UserError(
                f"{path}: has no SHA-256 of {track.file}; full and low-bitrate files have "
                "separate lists (…_audio_sha256_tracks.txt, …_audio-low_sha256_tracks.txt)"
            )
    return [replace(track, sha256=published[track.file]) for track in listed]
