"""The tags of samples: one list for all, a table, or as a data set has them; N samples."""

import csv
import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sedd_jax.conditions import Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.sampling.guide import Guide
from tokenizer_bridge.token_dataset.records import TokenDataset

Tags = Sequence[Sequence[str]]
TRAIN_SPLIT = "train"


def read_table(path: str | Path, num_samples: int) -> Tags:
    """The tags of each sample from a text file: a line a sample, commas between tags, a tag that
    has one in quotes, an empty line for no tags.

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
    """The known tags of tracks drawn at random, of the split train or else the first: those of
    sample i depend on (seed, i) and the data alone."""
    split = TRAIN_SPLIT if TRAIN_SPLIT in dataset.splits else dataset.splits[0]
    num_tracks = dataset.num_records(split)
    tracks = [
        np.random.default_rng((seed, index)).integers(num_tracks) for index in range(num_samples)
    ]
    return [vocabulary.known(dataset.read(split, int(track)).tags) for track in tracks]


def make_guide(
    vocabulary: Vocabulary,
    tags_N: Tags,
    *,
    avoid: Sequence[str] = (),
    weight: float = 1.0,
    schedule: str = "constant",
) -> Guide:
    """What samples with these tags need; avoid: tags that the model of the other branch is told.

    Raises UserError for an unknown tag.
    """
    avoid = vocabulary.require(avoid)
    tags_N = [vocabulary.require(tags) for tags in tags_N]
    width = max(map(len, [avoid, *tags_N]))
    condition = vocabulary.condition(tags_N, width)
    if weight == 1.0:
        return Guide(condition)
    other = vocabulary.condition([avoid] * len(tags_N), width)
    return Guide(condition, other, np.float32(weight), schedule)


def fingerprint(tags_N: Tags) -> str:
    """Eight hexadecimal digits that tell one table of tags from another."""
    return f"{zlib.crc32(json.dumps([list(tags) for tags in tags_N]).encode()):08x}"
