"""The condition of a track: tags and vectors, of a vocabulary taken from the training data once.

A condition is a pytree whose leaves have a row a sample, with those that the vocabulary has of

    {"tags": (B, N) int32, "vectors": {kind: (B, W + 1) float32}}

tags: the ids of a sample's tags, filled up with `len(vocabulary)`, which is no tag's. A tag is
`category---name`. vectors: a sample's vector of this kind, such as CLIP's, divided by the norm of
the vocabulary, and 1 behind it; all zero for a sample that has none.
"""

import dataclasses
import difflib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.kinds import check_widths
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.token_dataset.vectors import Vectors

SEPARATOR = "---"
Condition = dict[str, Any]  # see above; arrays of numpy or JAX


@dataclasses.dataclass(frozen=True)
class VectorKind:
    """A kind of vectors.

    width: W; norm: root of the mean squared norm of the training tracks' vectors, which are divided
    by it: so that a step of training weighs as much whatever their unit is.
    """

    width: int
    norm: float = 1.0


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The tags and kinds of vectors that a model knows. Its length is the number of tags.

    tracks: tag → how many training tracks have it; ids are places in the order of the names.
    max_tags: the most of them that one training track has. vectors: by the names of their kinds.
    """

    tracks: Mapping[str, int] = dataclasses.field(default_factory=dict)
    max_tags: int = 0
    vectors: Mapping[str, VectorKind] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        object.__setattr__(self, "tracks", dict(sorted(self.tracks.items())))
        object.__setattr__(self, "vectors", dict(sorted(self.vectors.items())))
        object.__setattr__(self, "_ids", {tag: i for i, tag in enumerate(self.tracks)})

    def __len__(self) -> int:
        return len(self.tracks)

    def __bool__(self) -> bool:
        return bool(self.tracks or self.vectors)

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

    def require_vectors(self, vectors: Mapping[str, Any], num_rows: int) -> list[Vectors]:
        """The vectors of each row, of arrays: kind → (W,), the same for all, or (num_rows, W).

        Raises UserError for a kind that is not known, another shape, or what is not finite.
        """
        arrays = {}
        for kind, given in vectors.items():
            if not self.vectors:
                raise UserError("the model knows no vectors: it was trained without")
            if kind not in self.vectors:
                kinds = ", ".join(self.vectors)
                raise UserError(f"the model knows no vectors {kind!r}, only {kinds}")
            array, width = np.asarray(given), self.vectors[kind].width
            if array.dtype.kind not in "fiu" or array.shape not in ((width,), (num_rows, width)):
                raise UserError(
                    f"{kind!r} is {array.dtype} of shape {array.shape}: numbers of shape "
                    f"({width},) or ({num_rows}, {width}) are needed"
                )
            if not np.isfinite(array).all():
                raise UserError(f"{kind!r} has numbers that are not finite")
            arrays[kind] = np.broadcast_to(array, (num_rows, width))
        return [{kind: array[i] for kind, array in arrays.items()} for i in range(num_rows)]

    def require_widths(self, dataset: TokenDataset) -> None:
        """Raises UserError unless the dataset's vectors are as wide as the model's."""
        for kind, known in self.vectors.items():
            if (width := dataset.vectors.get(kind, known.width)) != known.width:
                raise UserError(
                    f"{dataset.path}: vectors {kind!r} have {width} numbers, the model's have "
                    f"{known.width}"
                )

    def condition(
        self,
        tags_B: Sequence[Iterable[str]],
        width: int = 0,
        vectors_B: Sequence[Vectors] | None = None,
    ) -> Condition | None:
        """The condition of rows with these tags and vectors; None for no vocabulary.

        What it does not know is left out; None: no row has vectors. N is max_tags, or more where a
        row has more or `width` is more.
        """
        condition = {}
        if self.tracks:
            condition["tags"] = self._tag_ids(tags_B, width)
        if self.vectors:
            vectors_B = [{}] * len(tags_B) if vectors_B is None else vectors_B
            condition["vectors"] = {kind: self._scaled(kind, vectors_B) for kind in self.vectors}
        return condition or None

    def _scaled(self, kind: str, vectors_B: Sequence[Vectors]) -> np.ndarray:
        rows_BxW1 = np.zeros((len(vectors_B), self.vectors[kind].width + 1), np.float32)
        for row_W1, vectors in zip(rows_BxW1, vectors_B, strict=True):
            if kind in vectors:
                row_W1[:-1] = np.asarray(vectors[kind], np.float64) / self.vectors[kind].norm
                row_W1[-1] = 1.0
        return rows_BxW1

    def _tag_ids(self, tags_B: Sequence[Iterable[str]], width: int) -> np.ndarray:
        rows = [sorted(self._ids[tag] for tag in self.known(tags)) for tags in tags_B]
        width = max(self.max_tags, width, *map(len, rows))
        ids_BxN = np.full((len(rows), width), len(self), np.int32)
        for row_N, ids in zip(ids_BxN, rows, strict=True):
            row_N[: len(ids)] = ids
        return ids_BxN

    def of_others(
        self, tags_T: Sequence[Iterable[str]], vectors_T: Sequence[Vectors]
    ) -> np.ndarray:
        """For every track the index (T,) of another one, of which other tags or vectors are known.

        It is drawn at random, always alike; a track has its own where there is none.
        """
        rng = np.random.default_rng(0)
        numbers: dict[Any, int] = {}
        number_of_tracks = []
        for tags, vectors in zip(tags_T, vectors_T, strict=True):
            of_kinds = (kind in vectors and vectors[kind].tobytes() for kind in self.vectors)
            told = (frozenset(self.known(tags)), *of_kinds)
            number_of_tracks.append(numbers.setdefault(told, len(numbers)))
        number_T = np.array(number_of_tracks)
        other_T = np.arange(len(number_T))
        for i, number in enumerate(number_T):
            others = np.flatnonzero(number_T != number)
            if len(others):
                other_T[i] = rng.choice(others)
        return other_T

    def to_json(self) -> dict[str, Any]:
        """The mapping that `from_json` reads; {} for neither tags nor vectors."""
        tags = {"tags": dict(self.tracks), "max_tags": self.max_tags} if self.tracks else {}
        kinds = {kind: dataclasses.asdict(known) for kind, known in self.vectors.items()}
        return tags | ({"vectors": kinds} if kinds else {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Vocabulary":
        """Raises ValueError for what `to_json` does not make."""
        tracks, max_tags = values.get("tags", {}), values.get("max_tags", 0)
        counts = [*tracks.values(), max_tags] if isinstance(tracks, Mapping) else [None]
        if not all(type(count) is int and count >= 0 for count in counts):
            raise ValueError("no vocabulary: tags with their numbers of tracks, and max_tags")
        return cls(tracks, max_tags, _kinds_from_json(values.get("vectors", {})))


def _kinds_from_json(values: Any) -> dict[str, VectorKind]:
    try:
        kinds = {kind: VectorKind(**known) for kind, known in values.items()}
        check_widths({kind: known.width for kind, known in kinds.items()})
        if not all(0 < known.norm < math.inf for known in kinds.values()):
            raise ValueError("a norm is not above 0")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError("no vocabulary: kinds of vectors with width and norm") from error
    return kinds


UNCONDITIONAL = Vocabulary()


def category(tag: str) -> str:
    """The part before the separator; "" where there is none."""
    return tag.partition(SEPARATOR)[0] if SEPARATOR in tag else ""


def _name(tag: str) -> str:
    return tag.partition(SEPARATOR)[2] or tag


def read_vocabulary(
    dataset: TokenDataset,
    split: str,
    categories: Sequence[str],
    min_tracks: int,
    vectors: Sequence[str] = (),
) -> Vocabulary:
    """The tags of these categories that at least `min_tracks` tracks of the split have.

    vectors: kinds of them that the model is to know, too.
    Raises UserError when a category or a kind has none, naming those that there are.
    """
    if not categories and not vectors:
        return UNCONDITIONAL
    kinds = _measure_kinds(dataset, split, vectors)
    if not categories:
        return Vocabulary(vectors=kinds)
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
                f"{min_tracks} tracks of split {split!r}, the most frequent has "
                f"{max(own.values())}: ask for fewer"
            )
        kept |= {tag: n for tag, n in own.items() if n >= min_tracks}
    return Vocabulary(kept, max(len(tags & kept.keys()) for tags in of_tracks), kinds)


def _measure_kinds(
    dataset: TokenDataset, split: str, kinds: Sequence[str]
) -> dict[str, VectorKind]:
    """The width and the norm of each kind, over the tracks of a split. Raises UserError."""
    for kind in kinds:
        if kind not in dataset.vectors:
            there = ", ".join(dataset.vectors)
            raise UserError(
                f"{dataset.path}: no track has a vector {kind!r}, as config.conditioning.vectors "
                "wants; " + (f"its kinds are {there}" if there else "none has vectors of any kind")
            )
    squares: dict[str, list[float]] = {kind: [] for kind in kinds}
    for record in dataset.records(split) if kinds else ():
        for kind in squares.keys() & record.vectors.keys():
            squares[kind].append(float(np.square(record.vectors[kind], dtype=np.float64).sum()))
    measured = {}
    for kind, of_tracks in squares.items():
        norm = math.sqrt(math.fsum(of_tracks) / max(len(of_tracks), 1))
        if not norm:
            raise UserError(
                f"{dataset.path}: the vectors {kind!r} of split {split!r} are all zero or missing"
            )
        measured[kind] = VectorKind(dataset.vectors[kind], float(f"{norm:.6g}"))
    return measured
