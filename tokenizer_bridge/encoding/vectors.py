"""Vectors of tracks, found in folders of .npy files and checked before the audio is read.

A track's file is FOLDER/ID.npy, or FOLDER/PATH.npy with the path of its audio inside the source's
folder, with its suffix or without: of Artist/song.flac, Artist/song.flac.npy or Artist/song.npy.
"""

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from tokenizer_bridge.audio.kinds import FOR_FFMPEG, READABLE
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import require_folder
from tokenizer_bridge.token_dataset.kinds import check_kind
from tokenizer_bridge.token_dataset.vectors import read_npy


class _File(NamedTuple):
    path: Path
    sha256: bytes  # of its numbers


@dataclass(frozen=True)
class VectorFiles:
    """The files of every kind of vectors.

    widths: of each kind; files: kind → track's id → file.
    """

    widths: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, _File]] = field(default_factory=dict)

    def read(self, track_id: str) -> dict[str, np.ndarray]:
        """Kind → (W,) float32. Raises UserError for a file that has changed since it was found."""
        vectors = {}
        for kind, files in self.files.items():
            if file := files.get(track_id):
                vectors[kind] = read_npy(file.path)
                if _sha256(vectors[kind]) != file.sha256:
                    raise UserError(f"{file.path} was changed while tracks were encoded")
        return vectors

    def of(self, ids: Collection[str]) -> "VectorFiles":
        """Those of some tracks alone."""
        return VectorFiles(
            self.widths,
            {
                kind: {track_id: file for track_id, file in files.items() if track_id in ids}
                for kind, files in self.files.items()
            },
        )

    def settings(self) -> dict[str, Any]:
        """Kind → its width, and a SHA-256 of which track has which numbers."""
        settings = {}
        for kind, files in self.files.items():
            digest = hashlib.sha256()
            for track_id, file in sorted(files.items()):
                digest.update(track_id.encode() + b"\0" + file.sha256)
            settings[kind] = {"width": self.widths[kind], "sha256": digest.hexdigest()}
        return settings


def find_vectors(tracks: Sequence[Track], folders: Mapping[str, str | Path]) -> VectorFiles:
    """The vectors of tracks whose audio is there, each read and checked once.

    folders: kind → folder of .npy files. Raises UserError naming a track without a file, or a file
    that holds no finite vector as wide as the others.
    """
    widths, files = {}, {}
    for kind, folder in sorted(folders.items()):
        try:
            check_kind(kind)
        except ValueError as error:
            raise UserError(str(error)) from error
        paths = _locate(tracks, kind, require_folder(folder))
        files[kind] = {}
        for track_id, path in paths.items():
            vector_W = read_npy(path)
            if len(vector_W) != widths.setdefault(kind, len(vector_W)):
                first = next(iter(paths.values()))
                raise UserError(f"{path} has {len(vector_W)} numbers, {first} {widths[kind]}")
            files[kind][track_id] = _File(path, _sha256(vector_W))
    return VectorFiles(widths, files)


def _locate(tracks: Sequence[Track], kind: str, folder: Path) -> dict[str, Path]:
    """Track's id → file of one kind. Raises UserError if one has none."""
    found = {}
    without = []
    for track in tracks:
        if not track.path.exists():  # which encoding counts as a failure
            continue
        paths = (folder / f"{name}.npy" for name in _names(track))
        if (path := next((path for path in paths if path.is_file()), None)) is None:
            without.append(track)
        else:
            found[track.id] = path
    if without:
        names = " nor ".join(f"{name}.npy" for name in _names(without[0]))
        raise UserError(
            f"{folder}: {len(without)} of {len(found) + len(without)} tracks have no vector "
            f"{kind!r}, the first is {without[0].id}: there is no {names}"
        )
    return found


def _names(track: Track) -> Iterator[str]:
    """The names, without .npy, that a track's file can have, the first first."""
    for name in dict.fromkeys((track.id, track.file or track.id)):
        yield name
        path = PurePosixPath(name)
        if path.suffix[1:].lower() in READABLE | FOR_FFMPEG:  # an id may have dots of its own
            yield str(path.with_suffix(""))


def _sha256(vector_W: np.ndarray) -> bytes:
    return hashlib.sha256(vector_W.astype("<f4").tobytes()).digest()
