"""A set of embedded files as distances take it: its size, its vectors by file, its units."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tokenizer_bridge.fad.embed import EmbeddingSet
from tokenizer_bridge.fad.embeddings import EmbeddingInfo
from tokenizer_bridge.fad.kernel import within_bound
from tokenizer_bridge.fad.units import Unit, alone, by_artist, effective_files, equal_units
from tokenizer_bridge.token_dataset.errors import UserError

# An interval is the spread of random halves of a set. With 16 files in a set it still covered
# the truth in 98 of 100 trials (8 dimensions); below, a half has too few files to say much.
MIN_FILES = 16

# Artists, files of unknown ones among them, as so many of equal size are (units.equal_units): from
# here on they are drawn. With as few and half of the variance shared within an artist, intervals
# covered the truth in 95 of 100 trials or more; by file in 45 to 78 (8 dimensions, variances as
# 1/i, truths 0 and 2.25 of the variance).
MIN_ARTISTS = 4


@dataclass(frozen=True)
class SetSize:
    """The size of a set that is compared, and `name`, which messages call it by."""

    name: str
    n_files: int
    n_clips: int
    n_vectors: int
    n_artists: int  # known ones; 0 for generated music
    n_effective: int  # independent files that would tell as much, at most n_files
    drawn: Literal["artists", "files"]  # by subsets and intervals; artists with all their files

    def __str__(self) -> str:
        """The number of files, and what they are worth where that is less."""
        text = f"{self.n_files} files"
        if self.n_effective == self.n_files:
            return text
        return f"{text} ({self.n_artists} known artists) that count as {self.n_effective}"


@dataclass(frozen=True, eq=False)
class MeasuredSet:
    """A set, its files' (W, D) float64 vectors by id, and the units that are drawn of them.

    kernel_units: those that KAD is estimated on.
    """

    vectors: EmbeddingSet
    size: SetSize
    files: Mapping[str, np.ndarray]
    units: Sequence[Unit]
    kernel_units: Sequence[Unit]
    has_few_artists: bool  # too few to be drawn: files are

    @staticmethod
    def of(name: str, vectors: EmbeddingSet, seed: int) -> "MeasuredSet":
        """A set under a name; the seed draws `kernel_units` where there are too many."""
        clips: dict[str, list[np.ndarray]] = {}
        for clip_id, vectors_WxD in zip(vectors.clips, vectors.per_clip(), strict=True):
            clips.setdefault(clip_id, []).append(vectors_WxD)
        files = {id: np.concatenate(file, dtype=np.float64) for id, file in clips.items()}
        artist_of = dict(zip(vectors.clips, vectors.artists, strict=True))
        units = by_artist(list(files.values()), [artist_of[id] for id in files])
        has_few_artists = len(units) < len(files) and equal_units(units) < MIN_ARTISTS
        if has_few_artists:
            units = alone(list(files.values()))
        size = SetSize(
            name=name,
            n_files=len(files),
            n_clips=len(vectors.clips),
            n_vectors=len(vectors.vectors_NxD),
            n_artists=len(set(artist_of.values()) - {None}),
            n_effective=effective_files(units),
            drawn="artists" if len(units) < len(files) else "files",
        )
        return MeasuredSet(vectors, size, files, units, within_bound(units, seed), has_few_artists)

    @property
    def name(self) -> str:
        """The name that messages give it."""
        return self.size.name

    @property
    def info(self) -> EmbeddingInfo:
        """The embedding."""
        return self.vectors.info

    @functools.cached_property
    def all_NxD(self) -> np.ndarray:
        """All vectors, float64."""
        return np.asarray(self.vectors.vectors_NxD, np.float64)


def check(x: MeasuredSet, y: MeasuredSet) -> None:
    """Raise UserError, one line, for what makes two sets incomparable."""
    for one in (x, y):
        if len(one.files) < MIN_FILES:
            raise UserError(
                f"{one.name}: {len(one.files)} files; distances need at least {MIN_FILES}"
            )
        finite_N = np.isfinite(one.all_NxD).all(1)
        if not finite_N.all():
            clip = one.vectors.clips[one.vectors.clip_of_N[np.argmin(finite_N)]]
            raise UserError(f"{one.name}: {clip}: its {one.info.name} vectors are not finite")
    if x.info != y.info:
        raise UserError(
            f"{x.name} and {y.name} were embedded differently ({_identity(x.info)}; "
            f"{_identity(y.info)}): embed both with the same network and weights"
        )
    windows = {len(clip_WxD) for one in (x, y) for clip_WxD in one.vectors.per_clip()}
    if len(windows) > 1:
        raise UserError(
            f"{x.name} and {y.name}: clips have from {min(windows)} to {max(windows)} vectors: "
            "all clips must have the same length"
        )


def _identity(info: EmbeddingInfo) -> str:
    return f"{info.name}, {info.dim} dimensions, weights {info.weights_sha256[:12]}"
