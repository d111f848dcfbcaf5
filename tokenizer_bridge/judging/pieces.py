"""Pieces of token data sets, all of one length, with their tags.

A tag is `category---name`. L tokens of a piece.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tokenizer_bridge.audio.windows import spread_starts
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record, TokenDataset

SEPARATOR = "---"


@dataclass(frozen=True, eq=False)
class Piece:
    """A stretch of a track. tokens_L: uint16; artist: None if unknown; tags: of the track."""

    id: str
    tokens_L: np.ndarray
    artist: str | None
    tags: tuple[str, ...]

    def name_of(self, category: str) -> str | None:
        """The name of its tag of a category, which is none if there is not exactly one."""
        return name_of(self.tags, category)


def name_of(tags: Iterable[str], category: str) -> str | None:
    """The name of the tag of a category, which is none if there is not exactly one."""
    names = [tag.removeprefix(category + SEPARATOR) for tag in tags]
    names = [name for name, tag in zip(names, tags, strict=True) if name != tag]
    return names[0] if len(names) == 1 else None


def read_pieces(
    dataset: TokenDataset, splits: Sequence[str], length: int, most: int | None = None
) -> list[Piece]:
    """The middle `length` tokens of tracks, one piece a track; shorter tracks are left out.

    most: pieces at most, spread evenly over all. Raises UserError for an unknown split, and where
    no track is long enough.
    """
    places = [
        (split, int(index))
        for split in splits
        for index in np.flatnonzero(dataset.lengths(split) >= length)
    ]
    if not places:
        raise UserError(
            f"{dataset.path}: no track of {', '.join(splits)} has the {length:,} tokens of a piece"
        )
    if most is not None and most < len(places):
        places = [places[i] for i in spread_starts(len(places), 1, most)]
    return [_middle(dataset.read(*place), length) for place in places]


def _middle(record: Record, length: int) -> Piece:
    start = (len(record.tokens) - length) // 2
    tokens_L = record.tokens[start : start + length]
    return Piece(record.id, tokens_L, record.artist, record.tags)


def names_in(pieces: Sequence[Piece], category: str, least: int) -> list[str]:
    """The names of a category that at least so many pieces have, sorted."""
    counts = Counter(piece.name_of(category) for piece in pieces)
    return sorted(name for name, n in counts.items() if name is not None and n >= least)


def categories_in(pieces: Sequence[Piece]) -> list[str]:
    """The categories of all tags, sorted."""
    found = {tag.partition(SEPARATOR) for piece in pieces for tag in piece.tags}
    return sorted({category for category, separator, _ in found if separator and category})
