"""Tags, and artists, of the tracks of a folder."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from tokenizer_bridge.sources.track import Track
from tokenizer_bridge.token_dataset.errors import UserError

CSV_HEADER = ["path", "artist", "tags"]
# What files call it -> category of the tag.
_CATEGORIES = {"genre": "genre", "mood": "mood/theme"}
_ID3_FRAMES = {"artist": "TPE1", "albumartist": "TPE2", "genre": "TCON", "mood": "TMOO"}


def tagged(
    tracks: Sequence[Track], tags: str, tell: Callable[[str], None] = lambda line: None
) -> list[Track]:
    """The tracks with tags, in their order.

    tags says where tags come from:

    - "none": there are none.
    - "folders": every folder that a file is in names a tag (`rock/live/x.mp3`: rock, live). It then
      names no artist, so that splits are by track.
    - "metadata": the file's own: `genre---…` and `mood/theme---…` as they stand there, and the
      artist, in whose absence the first-level folder goes on naming it.
    - the path of a CSV (UTF-8) with the header `path,artist,tags`: the path inside the folder, the
      artist or nothing, and tags with `;` between them. What it says of a track's artist holds,
      nothing being "unknown"; tracks that it does not list have neither artist nor tags.

    tell: called with a line on tracks that are left without tags, and on rows without a track.
    Raises UserError naming file and line of a CSV that is not so, or that lists no track at all.
    """
    if tags == "none":
        return list(tracks)
    if tags == "folders":
        result = [replace(t, artist=None, tags=tuple(t.id.split("/")[:-1])) for t in tracks]
    elif tags == "metadata":
        result = [_from_metadata(track) for track in tracks]
    elif tags.lower().endswith(".csv"):
        result = _from_csv(tracks, Path(tags), tell)
    else:
        raise UserError(f"tags={tags}: must be none, folders, metadata or the path of a .csv")
    _tell_of([t.id for t in result if not t.tags], "files have no tags", len(result), tell)
    return result


def _from_metadata(track: Track) -> Track:
    """A file that mutagen cannot read has no metadata; whether it is audio is seen elsewhere."""
    import mutagen  # for these tags alone
    from mutagen.id3 import ID3

    try:
        file = mutagen.File(track.path, easy=True)
    except (mutagen.MutagenError, OSError, LookupError, ValueError):  # LookupError: damaged Ogg
        return track
    found = file.tags if file is not None and file.tags is not None else {}
    if isinstance(found, ID3):  # WAV and AIFF: mutagen has no easy names for theirs
        found = {
            name: [text for value in found.getall(frame) for text in value.text]
            for name, frame in _ID3_FRAMES.items()
        }
    artists = _texts(found, "artist") + _texts(found, "albumartist")
    tags = [
        f"{category}---{value}"
        for name, category in _CATEGORIES.items()
        for value in _texts(found, name)
    ]
    return replace(track, artist=(artists or [track.artist])[0], tags=tuple(dict.fromkeys(tags)))


def _texts(found, name: str) -> list[str]:
    return [text for value in found.get(name, ()) if (text := str(value).strip())]


def _from_csv(tracks: Sequence[Track], path: Path, tell: Callable[[str], None]) -> list[Track]:
    rows = _read_csv(path)
    known = {track.id for track in tracks}
    if not known & rows.keys():
        raise UserError(f"{path}: none of its {len(rows)} rows names a file in the folder")
    _tell_of(
        [row for row in rows if row not in known], f"rows of {path} name no file", len(rows), tell
    )
    unlisted = [track.id for track in tracks if track.id not in rows]
    _tell_of(unlisted, f"files are not in {path}", len(tracks), tell)
    result = []
    for track in tracks:
        artist, tags = rows.get(track.id, (None, ()))
        result.append(replace(track, artist=artist, tags=tags))
    return result


def _read_csv(path: Path) -> dict[str, tuple[str | None, tuple[str, ...]]]:
    """Path -> (artist or None, tags). Raises UserError naming file and line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # spreadsheets write a byte-order mark
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path}, line {number}: not UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = {}
    try:
        if next(reader, []) != CSV_HEADER:
            raise UserError(f"{path}, line 1: the header must be {','.join(CSV_HEADER)}")
        for cells in reader:
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(CSV_HEADER):
                raise UserError(f"{where}: {len(cells)} columns instead of {len(CSV_HEADER)}")
            name, artist, tags = cells
            if name in rows:
                raise UserError(f"{where}: {name} is listed a second time")
            names = tuple(dict.fromkeys(tag.strip() for tag in tags.split(";") if tag.strip()))
            rows[name] = (artist.strip() or None, names)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from error
    if not rows:
        raise UserError(f"{path}: lists no file below its header")
    return rows


def _tell_of(names: Sequence[str], what: str, total: int, tell: Callable[[str], None]) -> None:
    if names:
        examples = ", ".join(names[:3]) + (" …" if len(names) > 3 else "")
        tell(f"{len(names)} of {total} {what}: {examples}")
