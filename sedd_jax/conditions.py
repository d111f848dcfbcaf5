"""The condition of a track: its tags, of a vocabulary taken from the training data once.

A condition is a pytree whose leaves have a row a sample: {"tags": (B, N) int32}, the ids of a
sample's tags, filled up with `len(vocabulary)`, which is no tag's. A tag is `category---name`.
"""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset

SEPARATOR = "---"
Condition = dict[str, Any]  # see above; arrays of numpy or JAX


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The tags that a model knows.

    tracks: tag → how many training tracks have it; ids are places in the order of the names.
    max_tags: the most of them that one training track has.
    """

    tracks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    max_tags: int = 0

    def __post_init__(self):
        object.__setattr__(self, "tracks", dict(sorted(self.tracks.items())))
        object.__setattr__(self, "_ids", {tag: i for i, tag in enumerate(self.tracks)})

    def __len__(self) -> int:
        return len(self.tracks)

    def known(self, tags: Iterable[str]) -> tuple[str, ...]:
        """Those of the tags that are in the vocabulary, each once."""
        return tuple(tag for tag in dict.fromkeys(tags) if tag in self._ids)

    def require(self, tags: Iterable[str]) -> tuple[str, ...]:
        """The tags, each once. Raises UserError for an unknown one, naming the nearest."""
        if isinstance(tags, str):  # whose letters would be taken for tags
            raise UserError(f"tags are {tags!r}: a list of tags is needed, [{tags!r}]")
        tags = tuple(tags)
        if tags and not self.tracks:
            raise UserError("the model knows no tags: it was trained without")
        for tag in tags:
            if not isinstance(tag, str):
                raise UserError(f"{tag!r} is no tag: a text category{SEPARATOR}name is needed")
            if tag not in self._ids:
                nearest = " or ".join(self.nearest(tag))
                raise UserError(f"the model knows no tag {tag!r}; the nearest: {nearest}")
        return tuple(dict.fromkeys(tags))

    def nearest(self, tag: str, count: int = 3) -> list[str]:
        """The tags most like it, best first: in the whole, or in the name without its category."""

        def likeness(known: str) -> float:
            pairs = [(tag, known), (_name(tag), _name(known))]
            return max(
                difflib.SequenceMatcher(None, a.casefold(), b.casefold()).ratio() for a, b in pairs
            )

        return sorted(self.tracks, key=lambda known: (-likeness(known), known))[:count]

    def condition(self, tags_B: Sequence[Iterable[str]], width: int = 0) -> Condition | None:
        """The condition of rows with these tags, unknown ones left out; None for no vocabulary.

        N is max_tags, or more where a row has more or `width` is more.
        """
        if not self.tracks:
            return None
        rows = [sorted(self._ids[tag] for tag in self.known(tags)) for tags in tags_B]
        width = max(self.max_tags, width, *map(len, rows))
        ids_BxN = np.full((len(rows), width), len(self), np.int32)
        for row_N, ids in zip(ids_BxN, rows, strict=True):
            row_N[: len(ids)] = ids
        return {"tags": ids_BxN}

    def of_others(self, tags_T: Sequence[Iterable[str]]) -> list[tuple[str, ...]]:
        """For every track the known tags of another one, whose known tags are not the same.

        That one is drawn at random, always alike; a track keeps its own where there is none.
        """
        rng = np.random.default_rng(0)
        own_T = [self.known(tags) for tags in tags_T]
        numbers: dict[frozenset[str], int] = {}
        number_T = np.array([numbers.setdefault(frozenset(own), len(numbers)) for own in own_T])
        others_T = []
        for own, number in zip(own_T, number_T, strict=True):
            others = np.flatnonzero(number_T != number)
            others_T.append(own_T[rng.choice(others)] if len(others) else own)
        return others_T

    def to_json(self) -> dict[str, Any]:
        """The mapping that `from_json` reads; {} for no tags at all."""
        return {"tags": dict(self.tracks), "max_tags": self.max_tags} if self.tracks else {}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Vocabulary":
        """Raises ValueError for what `to_json` does not make."""
        tracks, max_tags = values.get("tags", {}), values.get("max_tags", 0)
        counts = [*tracks.values(), max_tags] if isinstance(tracks, Mapping) else [None]
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("no vocabulary: tags with their numbers of tracks, and max_tags")
        return cls(tracks, max_tags)


UNCONDITIONAL = Vocabulary()


def category(tag: str) -> str:
    """The part before the separator; "" where there is none."""
    return tag.partition(SEPARATOR)[0] if SEPARATOR in tag else ""


def _name(tag: str) -> str:
    return tag.partition(SEPARATOR)[2] or tag


def read_vocabulary(
    dataset: TokenDataset, split: str, categories: Sequence[str], min_tracks: int
) -> Vocabulary:
    """The tags of these categories that at least `min_tracks` tracks of the split have.

    Raises UserError when a category has none, naming those that there are.
    """
    if not categories:
        return UNCONDITIONAL
    of_tracks = [frozenset(record.tags) for record in dataset.records(split)]
    counts = Counter(tag for tags in of_tracks for tag in tags)
    kept = {}
    for wanted in categories:
        own = {tag: n for tag, n in counts.items() if category(tag) == wanted}
        if not own:
            there = sorted({category(t) for t in counts} - {""})
            raise UserError(
                f"{dataset.path}: no track of split {split!r} has a tag {wanted}{SEPARATOR}…, as "
                "config.conditioning.categories wants; "
                + (f"its categories are {', '.join(there)}" if there else "none has a category")
            )
        if max(own.values()) < min_tracks:
            raise UserError(
                f"{dataset.path}: of category {wanted} no tag has config.conditioning.min_tracks "
                f"{min_tracks} tracks of split {split!r}, the most frequent has {max(own.values())}"
            )
        kept |= {tag: n for tag, n in own.items() if n >= min_tracks}
    return Vocabulary(kept, max(len(tags & kept.keys()) for tags in of_tracks))
