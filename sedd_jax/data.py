"""Token dataset → windows → batches.

A track of n tokens gives ⌊n / L⌋ windows of L tokens an epoch, the k-th starting anywhere in the
k-th of equal parts of the possible starts. Which window stands where in an epoch and where it
starts are functions of (seed, epoch), and row r of step s is window number s·B + r of an endless
sequence of epochs: a batch depends on (seed, s) alone, whoever reads it.

B rows of a global batch, R rows of it on this host, L window length.
"""

import dataclasses
import hashlib
import json
import sys
from collections.abc import Iterator

import grain
import numpy as np

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.records import DATASET_FILE, TokenDataset

READ_THREADS = 2
PREFETCHED_BATCHES = 8


@dataclasses.dataclass(frozen=True)
class Windows:
    """The windows that a split offers in one epoch, W of them.

    track_W: the track of each; part_W: which of its track's windows it is, from 0; tokens_T:
    length of every track, T of them; num_skipped: tracks shorter than a window.
    """

    length: int
    track_W: np.ndarray
    part_W: np.ndarray
    tokens_T: np.ndarray
    num_skipped: int

    def __len__(self) -> int:
        return len(self.track_W)

    def start(self, window: int, place: float) -> int:
        """First token of a window; `place` in [0, 1) says where in its part it starts."""
        num_tokens = int(self.tokens_T[self.track_W[window]])
        num_starts = num_tokens - self.length + 1
        start = int((self.part_W[window] + place) * num_starts / (num_tokens // self.length))
        return min(start, num_starts - 1)  # a place next to 1 may round up


def plan_windows(dataset: TokenDataset, split: str, length: int) -> Windows:
    """The windows of a split, from dataset.json alone.

    Raises UserError when the split is missing or no track is long enough.
    """
    tokens_T = dataset.lengths(split)
    windows_T = tokens_T // length
    if not windows_T.sum():
        longest = tokens_T.max(initial=0)
        raise UserError(
            f"{dataset.path}: no track of split {split!r} has config.model.length {length} "
            f"tokens, the longest has {longest}: encode longer music or shorten the windows"
        )
    first_T = np.cumsum(windows_T) - windows_T
    return Windows(
        length=length,
        track_W=np.repeat(np.arange(len(tokens_T)), windows_T),
        part_W=np.arange(windows_T.sum()) - np.repeat(first_T, windows_T),
        tokens_T=tokens_T,
        num_skipped=int((windows_T == 0).sum()),
    )


class _HostRows:
    """Random access to the rows of one host: its item i is row rows_R[i % R] of step i // R."""

    def __init__(self, sequence: grain.MapDataset, batch_size: int, rows_R: np.ndarray):
        self._sequence, self._batch_size, self._rows_R = sequence, batch_size, rows_R

    def __len__(self) -> int:
        return sys.maxsize // self._batch_size * len(self._rows_R)

    def __getitem__(self, index: int) -> np.ndarray:
        step, i = divmod(index, len(self._rows_R))
        return self._sequence[step * self._batch_size + int(self._rows_R[i])]

    def __repr__(self) -> str:
        return f"HostRows({len(self._rows_R)} of {self._batch_size})"


def training_batches(
    dataset: TokenDataset,
    split: str,
    *,
    length: int,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    rows_R: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Endless (R, L) int32 batches from `start_step` on, read ahead by threads.

    batch_size: B, of the global batch; rows_R: ascending indices of the rows of it to read, all by
    default. Raises UserError for an unusable split now, for a damaged record when it is read.
    """
    windows = plan_windows(dataset, split, length)

    def read(position: int, window: int) -> np.ndarray:
        epoch = position // len(windows)
        place = np.random.default_rng((seed, epoch, window)).random()
        start = windows.start(window, place)
        tokens = dataset.read(split, int(windows.track_W[window])).tokens
        return tokens[start : start + length].astype(np.int32)

    sequence = grain.MapDataset.range(len(windows)).seed(seed).shuffle().repeat()
    sequence = sequence.map_with_index(read)
    rows_R = np.arange(batch_size) if rows_R is None else rows_R
    batches = grain.MapDataset.source(_HostRows(sequence, batch_size, rows_R)).batch(len(rows_R))
    options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=PREFETCHED_BATCHES)
    iterator = iter(batches.to_iter_dataset(options))
    grain.experimental.set_next_index(iterator, start_step)
    return iterator


def fingerprint(dataset: TokenDataset, split: str) -> str:
    """Identity of a split's tokens and their order: the same for a copy, another for other data."""
    meta = json.loads((dataset.path / DATASET_FILE).read_text(encoding="utf-8"))
    digest = hashlib.sha256()
    for shard in meta["splits"][split]["shards"]:
        digest.update(bytes.fromhex(shard["sha256"]))
    return digest.hexdigest()
