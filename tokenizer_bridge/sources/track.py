"""Tracks, which a source gives; subsets of them, and a fingerprint to tell whether they changed."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizer_bridge.token_dataset.errors import UserError


@dataclass(frozen=True)
class Track:
    """One audio file to be encoded.

    id: unique within the source and the same on every machine (no absolute path). artist: None if
    unknown; splits never share one. tags: free text. split: of the source's own choice (train,
    validation or test); a source has it for all tracks or for none. file: the path inside the
    source's folder, where the id is something else. sha256: what the file's must be, if known.
    duration_s: seconds, where the source says so. stored: the URL of a file in an object store, for
    which an empty one of its size stands at `path`.
    """

    id: str
    path: Path
    artist: str | None = None
    tags: tuple[str, ...] = ()
    split: str | None = None
    file: str | None = None
    sha256: str | None = None
    duration_s: float | None = None
    stored: str | None = None

    @property
    def place(self) -> str | Path:
        """The file's path or URL."""
        return self.stored or self.path


@dataclass(frozen=True)
class Failure:
    """A track, or a part of one, that could not be used; `reason` says why."""

    id: str
    path: str | Path
    reason: str


def fingerprint(tracks: Sequence[Track]) -> str:
    """SHA-256 of what the tracks are and of their file sizes: has the input changed?

    A file replaced by one of equal size goes unnoticed; reading hundreds of gigabytes to notice it
    would cost more than encoding them.
    """
    digest = hashlib.sha256()
    for track in tracks:
        size = track.path.stat().st_size if track.path.exists() else None
        known = tuple(value for value in (track.split, track.file, track.sha256) if value)
        digest.update(repr((track.id, track.artist, track.tags, size, *known)).encode())
    return digest.hexdigest()


def longest_first(tracks: Sequence[Track]) -> list[Track]:
    """The tracks by duration or, unless all are known, by the size of their files; then by id."""
    if all(track.duration_s is not None for track in tracks):
        lengths = {track.id: track.duration_s or 0.0 for track in tracks}
    else:
        lengths = {
            track.id: track.path.stat().st_size if track.path.exists() else 0 for track in tracks
        }
    return sorted(tracks, key=lambda track: (-lengths[track.id], track.id))


def subset(tracks: Sequence[Track], num_tracks: int, seed: int) -> list[Track]:
    """`num_tracks` of the tracks, in their order: those with the lowest SHA-256 of seed and id.

    So it depends neither on the order of the tracks nor on the other tracks' number, and fewer
    tracks are a subset of more. Raises UserError if there are not that many.
    """
    if num_tracks > len(tracks):
        raise UserError(f"the source has {len(tracks)} tracks, fewer than {num_tracks}")

    chosen = draw((track.id for track in tracks), num_tracks, seed)
    return [track for track in tracks if track.id in chosen]


def draw(ids: Iterable[str], count: int, seed: int) -> set[str]:
    """Draw at most `count` of the ids: those with the lowest SHA-256 of seed and id."""

    def key(id: str) -> bytes:
        return hashlib.sha256(f"{seed}/{id}".encode()).digest()

    return set(sorted(ids, key=key)[:count])
