"""The counts that one pass over a split's tracks collects: codes, pairs, runs, artists, tags.

V: codes of the codec. L: tokens of a track. Memory is V² counts of pairs and V of codes, however
many tracks there are.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from tokenizer_bridge.token_dataset.records import Record

MAX_PAIR_CODES = 2**13  # a table of pairs has 256 MiB there
CATEGORY_SEPARATOR = "---"  # "genre---rock"
NO_CATEGORY = ""


@dataclass(frozen=True)
class Run:
    """A stretch of one code repeated."""

    track: str  # id
    start: int  # in tokens
    length: int
    code: int


class CodeCounts:
    """Counts of the codes, and of the pairs of codes that follow each other within tracks.

    pairs_VxV, [before, after], is None where the codec has more than MAX_PAIR_CODES codes.
    """

    def __init__(self, num_codes: int):
        self.codes_V = np.zeros(num_codes, np.int64)
        paired = num_codes <= MAX_PAIR_CODES
        self.pairs_VxV = np.zeros((num_codes, num_codes), np.uint32) if paired else None

    def add(self, tokens_L: np.ndarray) -> None:
        self.codes_V += np.bincount(tokens_L, minlength=len(self.codes_V))
        if self.pairs_VxV is not None:
            keys_P = tokens_L[:-1].astype(np.int64) * len(self.codes_V) + tokens_L[1:]
            np.add.at(self.pairs_VxV.reshape(-1), keys_P, np.uint32(1))

    def without(self, part: "CodeCounts") -> "CodeCounts":
        """The counts of the tracks that `part` did not see."""
        rest = CodeCounts(len(self.codes_V))
        rest.codes_V = self.codes_V - part.codes_V
        if self.pairs_VxV is not None:
            rest.pairs_VxV = self.pairs_VxV - part.pairs_VxV
        return rest


class TrackCounts:
    """Runs, artists and tags of the tracks of a split.

    long_run: tokens from which on a run counts as long.
    """

    def __init__(self, long_run: int):
        self.num_repeats = 0  # tokens equal to the one before
        self.num_pairs = 0
        self.longest_run: Run | None = None
        self.num_long_runs = self.tokens_in_long_runs = 0
        self.tokens_by_artist: Counter[str] = Counter()
        self.tracks_without_artist = 0
        self.tags: dict[str, Counter[str]] = {}  # category -> tag -> tracks
        self.tracks_without_tags = 0
        self._long_run = long_run

    def add(self, record: Record) -> None:
        self._add_runs(record)
        if record.artist is None:
            self.tracks_without_artist += 1
        else:
            self.tokens_by_artist[record.artist] += len(record.tokens)
        for tag in set(record.tags):
            category, separator, name = tag.partition(CATEGORY_SEPARATOR)
            category, name = (category, name) if separator else (NO_CATEGORY, tag)
            self.tags.setdefault(category, Counter())[name] += 1
        self.tracks_without_tags += not record.tags

    def _add_runs(self, record: Record) -> None:
        tokens_L = record.tokens
        changes = np.flatnonzero(tokens_L[1:] != tokens_L[:-1]) + 1
        starts_R = np.concatenate([[0], changes])
        lengths_R = np.diff(starts_R, append=len(tokens_L))
        self.num_pairs += len(tokens_L) - 1
        self.num_repeats += len(tokens_L) - len(starts_R)
        long_R = lengths_R >= self._long_run
        self.num_long_runs += int(long_R.sum())
        self.tokens_in_long_runs += int(lengths_R[long_R].sum())
        at = int(lengths_R.argmax())
        if self.longest_run is None or lengths_R[at] > self.longest_run.length:
            start = int(starts_R[at])
            self.longest_run = Run(record.id, start, int(lengths_R[at]), int(tokens_L[start]))
