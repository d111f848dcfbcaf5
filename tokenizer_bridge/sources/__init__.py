"""Where tracks come from. A source is a module with `tracks(input) -> list[Track]`."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Track:
    """One audio file to be encoded.

    id: unique within the source and the same on every machine (no absolute path). artist: None if
    unknown; splits never share one. tags: free text.
    """

    id: str
    path: Path
    artist: str | None = None
    tags: tuple[str, ...] = ()


def fingerprint(tracks: Sequence[Track]) -> str:
    """SHA-256 of the tracks' ids, artists, tags and file sizes: has the input changed?

    A file replaced by one of equal size goes unnoticed; reading hundreds of gigabytes to notice it
    would cost more than encoding them.
    """
    digest = hashlib.sha256()
    for track in tracks:
        size = track.path.stat().st_size if track.path.exists() else None
        digest.update(repr((track.id, track.artist, track.tags, size)).encode())
    return digest.hexdigest()
