"""Audio files in a folder and its sub-folders.

The first-level sub-folder that a file is in names its artist: `MUSIC/Artist/Album/song.flac`. A
file that lies directly in the folder has no known artist.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from tokenizer_bridge.audio.kinds import FOR_FFMPEG, READABLE
from tokenizer_bridge.sources import tagging
from tokenizer_bridge.sources.track import Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import as_text, require_folder


def tracks(
    folder: str | os.PathLike,
    tags: str = "none",
    tell: Callable[[str], None] = lambda line: None,
) -> list[Track]:
    """The tracks of a folder, sorted by id: the path inside the folder, with slashes. Of a single
    file, that one, under its name.

    Hidden files and folders are passed over. Links are followed; a file that can be reached in two
    ways is taken once, under the lesser id, lest it be in two splits. Whether a file holds usable
    audio is seen when it is read. tags, tell: where tags come from, see `tagging.tagged`. Raises
    UserError without any audio file, naming the folder.
    """
    if (file := Path(folder)).is_file():
        return tagging.tagged([Track(as_text(file.name), file)], tags, tell)
    root = require_folder(folder)
    found: dict[str, Track] = {}  # real path -> track
    for path in sorted(_audio_files(root, ancestors=frozenset()), key=lambda path: path.parts):
        relative = path.relative_to(root)
        parts = [as_text(part) for part in relative.parts]
        artist = parts[0] if len(parts) > 1 else None
        found.setdefault(os.path.realpath(path), Track("/".join(parts), path, artist))
    if not found:
        raise UserError(
            f"{folder}: no audio files in it (looked for .{' .'.join(sorted(READABLE))})"
        )
    return tagging.tagged(sorted(found.values(), key=lambda track: track.id), tags, tell)


def _audio_files(folder: Path, ancestors: frozenset[str]) -> Iterator[Path]:
    """Paths with an audio suffix below a folder; links back to an ancestor are not followed."""
    real = os.path.realpath(folder)
    if real in ancestors:
        return
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror})") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if os.path.isdir(entry.path):  # entry.is_dir() raises for a link to itself
            yield from _audio_files(Path(entry.path), ancestors | {real})
        elif Path(entry.name).suffix[1:].lower() in READABLE | FOR_FFMPEG:
            yield Path(entry.path)
