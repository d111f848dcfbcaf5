"""Music in an object store: listed at once, and copied a file at a time while it is read.

A source sees a folder of this machine in which the audio files are empty but have their sizes, so
that it lists and orders them as it would on a disk; only descriptions are copied at once.
"""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from tokenizer_bridge.audio.errors import AudioError
from tokenizer_bridge.audio.kinds import FOR_FFMPEG, READABLE
from tokenizer_bridge.sources.track import Track
from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.mirrors import Folder, temporary_folder

_DESCRIPTIONS = ".tsv"  # of MTG-Jamendo, in the music's folder itself


class StoredMusic(Folder):
    """A folder of music at a URL, or a single file. path: what a source sees in its place.

    Raises UserError for what the store refuses.
    """

    def __init__(self, url: str):
        self.place = url.rstrip("/")
        bucket = Bucket(url)
        # Its own name, by which some layouts are known.
        self._root = self.path = temporary_folder(PurePosixPath(self.place).name)
        for name, size in bucket.sizes().items():
            path = self._root / name if name else self._root / self._root.name
            suffix = path.suffix[1:].lower()
            if "/" not in name and name.endswith(_DESCRIPTIONS):
                bucket.download(name, path)
            elif suffix in READABLE | FOR_FFMPEG:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
                os.truncate(path, size)
            if not name:
                self.path = path

    def named(self, text: str) -> str:
        """A text in which the folder is called by its URL."""
        return text.replace(str(self.path), self.place)

    def tracks(self, tracks: Sequence[Track]) -> list[Track]:
        """The tracks that a source has found here, with the URLs that they are copied from."""
        place = self.place if self.path == self._root else self.place.rpartition("/")[0]
        return [
            dataclasses.replace(
                track, stored=f"{place}/{track.path.relative_to(self._root).as_posix()}"
            )
            for track in tracks
        ]


@contextlib.contextmanager
def at_hand(track: Track) -> Iterator[Path]:
    """A track's file on this machine; the copy of a stored one is there inside only.

    Raises AudioError for one that has gone, UserError for what the store refuses.
    """
    if track.stored is None:
        yield track.path
        return
    place, _, name = track.stored.rpartition("/")
    with tempfile.TemporaryDirectory(prefix="sedd_music-track-") as folder:
        copy = Path(folder) / f"track{track.path.suffix}"
        try:
            Bucket(place).download(name, copy)
        except FileNotFoundError as error:
            raise AudioError("is not there") from error
        yield copy
