"""The tags and vectors of samples; N samples.

Tags are one list for all, a table, or as a data set has them; vectors one for all, or a row each.
"""

import csv
import dataclasses
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sedd_jax.conditions import Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.sampling.guide import Guide
from tokenizer_bridge.token_dataset.command import naming
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset
from tokenizer_bridge.token_dataset.vectors import Vectors, read_npy

Tags = Sequence[Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Steering:
    """The wishes for samples; by default there are none.

    tags: of all samples; tags_file: a file with those of each (`read_table`); tags_from: a token
    dataset whose tags are drawn from (`draw_tags`); one of the three at most.
    vectors: kind → .npy file of a vector (W,) for all samples, or of one for each, (N, W).
    avoid: tags to stay away from. guidance: how much the tags count; schedule: over the steps
    (sedd_jax/diffusion/guidance.py).

    Raises UserError when these do not go together.
    """

    tags: Sequence[str] | None = None
    tags_file: str | Path | None = None
    tags_from: str | Path | None = None
    avoid: Sequence[str] = ()
    guidance: float = 1.0
    schedule: str = "constant"
    vectors: Mapping[str, str | Path] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        sources = ("tags", "tags_file", "tags_from")
        given = [name for name in sources if getattr(self, name) is not None]
        if len(given) > 1:
            raise UserError(f"{' and '.join(given)}: one of them says what the tags are")
        if not given and not self.avoid and not self.vectors and self.guidance != 1.0:
            raise UserError(f"guidance needs tags: {', '.join(sources)} or avoid; or vectors")
        if self.avoid and self.guidance <= 1.0:
            raise UserError("avoid needs guidance above 1: how far to stay away from its tags")
        if self.guidance == 1.0 and self.schedule != "constant":
            raise UserError(
                f"guidance that is {self.schedule} goes between 1 and another strength: at 1 "
                "nothing rises or falls"
            )

    def tags_of(self, vocabulary: Vocabulary, num_samples: int, seed: int) -> Tags | None:
        """The tags of each sample; None where nothing is asked for. Raises UserError."""
        if self == UNSTEERED:
            return None
        if self.vectors and not vocabulary.vectors:
            raise UserError("the model knows no vectors: it was trained without")
        if not vocabulary:
            raise UserError("the model knows no tags: it was trained without")
        if self.tags_file is not None:
            return read_table(self.tags_file, num_samples)
        if self.tags_from is not None:
            return draw_tags(TokenDataset(self.tags_from), vocabulary, num_samples, seed)
        return [list(self.tags or ())] * num_samples

    def vectors_of(self, vocabulary: Vocabulary, num_samples: int) -> list[dict[str, np.ndarray]]:
        """The vectors of each sample. Raises UserError naming a file that does not fit."""
        vectors_N: list[dict[str, np.ndarray]] = [{} for _ in range(num_samples)]
        for kind, path in self.vectors.items():
            array = read_npy(path, 2)  # which names the file itself
            with naming(str(path)):
                rows_N = vocabulary.require_vectors({kind: array}, num_samples)
            for vectors, row in zip(vectors_N, rows_N, strict=True):
                vectors |= row
        return vectors_N

    def guide(self, vocabulary: Vocabulary, tags_N: Tags, vectors_N: Sequence[Vectors]) -> Guide:
        """The guide of samples with these tags and vectors. Raises UserError for an unknown tag."""
        return make_guide(
            vocabulary,
            tags_N,
            vectors_N,
            avoid=self.avoid,
            weight=self.guidance,
            schedule=self.schedule,
        )

    def settings(self, tags_N: Tags, vectors_N: Sequence[Vectors]) -> dict[str, Any]:
        """The wishes that samples with these tags and vectors depend on, as JSON values."""
        vectors = {
            kind: vectors_fingerprint([row[kind] for row in vectors_N]) for kind in self.vectors
        }
        return ({"vectors_fingerprint": vectors} if vectors else {}) | {
            "tags_fingerprint": fingerprint(tags_N),
            "avoid": list(self.avoid),
            "guidance": self.guidance,
            "guidance_schedule": self.schedule,
        }


UNSTEERED = Steering()


def read_table(path: str | Path, num_samples: int) -> Tags:
    """The tags of each sample from a text file.

    It has a line for each sample, with commas between tags; a tag that has a comma itself stands in
    quotes, and a line is empty for no tags.

    Raises UserError when it cannot be read or has another number of lines.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text") from error
    if len(lines) != num_samples:
        raise UserError(f"{path} has {len(lines)} lines, for {num_samples} samples")
    rows = [next(csv.reader([line], skipinitialspace=True), []) for line in lines]
    return [[tag.strip() for tag in row if tag.strip()] for row in rows]


def draw_tags(dataset: TokenDataset, vocabulary: Vocabulary, num_samples: int, seed: int) -> Tags:
    """The known tags of tracks drawn at random, of the split train or else the first.

    Those of sample i depend on (seed, i) and the data alone. Raises UserError where no track of the
    split has a known tag: nothing would be asked for.
    """
    split = TRAIN_SPLIT if TRAIN_SPLIT in dataset.splits else dataset.splits[0]
    if not any(vocabulary.known(record.tags) for record in dataset.records(split)):
        raise UserError(
            f"{dataset.path}: no track of split {split!r} has a tag that the model knows"
        )
    num_tracks = dataset.num_records(split)
    tracks = [
        np.random.default_rng((seed, index)).integers(num_tracks) for index in range(num_samples)
    ]
    return [vocabulary.known(dataset.read(split, int(track)).tags) for track in tracks]


def make_guide(
    vocabulary: Vocabulary,
    tags_N: Tags,
    vectors_N: Sequence[Vectors] | None = None,
    *,
    avoid: Sequence[str] = (),
    weight: float = 1.0,
    schedule: str = "constant",
) -> Guide:
    """The guide of samples with these tags and vectors; None: no vectors.

    avoid: tags that the other model is told; it is told no vectors.

    Raises UserError for an unknown tag, and for a model that knows neither tags nor vectors.
    """
    avoid = vocabulary.require(avoid)
    tags_N = [vocabulary.require(tags) for tags in tags_N]
    width = max(map(len, [avoid, *tags_N]))
    condition = vocabulary.condition(tags_N, width, vectors_N)
    if condition is None:
        raise UserError("the model knows no tags: it was trained without")
    if weight == 1.0:
        return Guide(condition)
    other = vocabulary.condition([avoid] * len(tags_N), width)
    return Guide(condition, other, np.float32(weight), schedule)


def fingerprint(tags_N: Tags) -> str:
    """Eight hexadecimal digits that tell one table of tags from another."""
    return f"{zlib.crc32(json.dumps([list(tags) for tags in tags_N]).encode()):08x}"


def vectors_fingerprint(vector_NxW: Sequence[np.ndarray]) -> str:
    """Eight hexadecimal digits that tell one table of vectors from another."""
    return f"{zlib.crc32(np.asarray(vector_NxW, '<f4').tobytes()):08x}"
