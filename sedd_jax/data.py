"""Token dataset → windows → batches.

A piece is a track of at least L tokens, or all shorter tracks joined end to end. In every epoch a
piece of n tokens is tiled with a phase o of its own, uniform over the L there are: windows start at
o − L, o, o + L, …; the two that stick out are moved to 0 and n − L. So the network is trained on
starts and ends as on what lies between: on each token once an epoch, and once more where a moved
window overlaps its neighbour (twice more where the two moved ones do too, for n < 2L). On average
token p < L is seen 1 + p / L times, the same from the other end, and a piece counts n + L − 1
tokens an epoch (L where n = L), which grows smoothly with n.

Short tracks are joined in an order that is drawn anew each epoch. Nothing marks the joins: every
code means sound, and a code of its own would have to be kept out of samples, of the bound and of
the codec. A network that sees many of them will sample some; only windows of short tracks have any.

How many windows a piece has depends on its phase, so epochs differ in length. Phases therefore
come in cycles of L epochs: piece p has phase a_p + u_e, where u runs over all of 0 … L − 1 in a
random order. That makes the number of windows of a cycle a constant, and the lengths of its epochs
the counts of one histogram; a position in the endless sequence of windows finds its epoch by one
division and one search. All else (the phases a, the order of u, the order of windows in an epoch,
that of the joined tracks) is drawn with keys (seed, …): row r of step s is window s·B + r, and a
batch depends on (seed, s) alone, whoever reads it.

B rows of a global batch, R rows of it on this host, L window length, T tracks, P pieces, U shifts,
E epochs of a cycle, W windows of an epoch.
"""

import dataclasses
import enum
import functools
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import grain
import jax
import numpy as np

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.records import DATASET_FILE, Record, TokenDataset
from tokenizer_bridge.token_dataset.vectors import Vectors

READ_THREADS = 4
PREFETCHED_BATCHES = 8


@dataclasses.dataclass(frozen=True)
class Windows:
    """The tracks that the windows of a split are cut from.

    length: L. tokens_T: length of every track. long_N: the tracks of at least L tokens, short_N:
    the others, each ascending.
    """

    length: int
    tokens_T: np.ndarray
    long_N: np.ndarray
    short_N: np.ndarray

    @property
    def tokens_P(self) -> np.ndarray:
        """Length of every piece (P,), none below L; short tracks joined are the last."""
        tokens_P = self.tokens_T[self.long_N].astype(np.int64)
        if not len(self.short_N):
            return tokens_P
        # Where they do not fill a window together, the start of a long track does.
        joined = max(int(self.tokens_T[self.short_N].sum(dtype=np.int64)), self.length)
        return np.append(tokens_P, joined)

    @property
    def per_cycle(self) -> int:
        """The windows of L epochs."""
        tokens_P = self.tokens_P
        return int((tokens_P + np.where(tokens_P > self.length, self.length - 1, 0)).sum())

    @property
    def per_epoch(self) -> float:
        """The windows of an epoch on average."""
        return self.per_cycle / self.length


def plan_windows(dataset: TokenDataset, split: str, length: int) -> Windows:
    """The windows of a split, from dataset.json alone.

    Raises UserError when the split is missing or all of it does not fill a window.
    """
    tokens_T = dataset.lengths(split)
    total = int(tokens_T.sum(dtype=np.int64))
    if total < length:
        raise UserError(
            f"{dataset.path}: the tracks of split {split!r} have {total} tokens together, a window "
            f"of config.model.length has {length}: encode more music or shorten the windows"
        )
    return Windows(
        length, tokens_T, np.flatnonzero(tokens_T >= length), np.flatnonzero(tokens_T < length)
    )


class Span(NamedTuple):
    """Tokens start … stop − 1 of a track."""

    track: int
    start: int
    stop: int


class _Draw(enum.IntEnum):
    """The purposes of random numbers; each has a stream of its own."""

    PHASES = 0
    CYCLE = 1
    EPOCH = 2


@dataclasses.dataclass(frozen=True)
class _Epoch:
    """The plan of an epoch.

    phase_P: in 1 … L. first_P: number of a piece's first window. shuffled_W: which window stands at
    each place. joined_N, joined_ends_N: the short tracks in order and where each ends.
    """

    phase_P: np.ndarray
    first_P: np.ndarray
    shuffled_W: np.ndarray
    joined_N: np.ndarray
    joined_ends_N: np.ndarray


class WindowOrder:
    """The endless sequence of training windows of a seed. Threads may share it.

    It keeps a few arrays of P, T and W integers for the epochs last asked for.
    """

    def __init__(self, windows: Windows, seed: int):
        self._windows, self._seed = windows, seed
        self._tokens_P, self._per_cycle = windows.tokens_P, windows.per_cycle
        length = windows.length
        # Beside those at 0 and n − L, a piece has a window at every s = o mod L between the two:
        # fewest_P with them, and one more at the phases 1 … rest_P.
        between_P, self._rest_P = np.divmod(np.maximum(self._tokens_P - length - 1, 0), length)
        self._fewest_P = between_P + np.where(self._tokens_P > length, 2, 1)
        self._phase_P = self._rng(_Draw.PHASES).integers(length, size=len(self._tokens_P))
        # The phase of piece p is 1 + (phase_P + u) mod L: one window more at the rest_P shifts u
        # from −phase_P mod L on, around the circle.
        begin_P = -self._phase_P % length
        change = np.bincount(begin_P, minlength=2 * length)
        change -= np.bincount(begin_P + self._rest_P, minlength=2 * length)
        more_U = np.cumsum(change).reshape(2, length).sum(0)
        self._windows_U = self._fewest_P.sum() + more_U
        self._cycle = functools.lru_cache(maxsize=2)(self._draw_cycle)
        self._epoch = functools.lru_cache(maxsize=2)(self._draw_epoch)

    @property
    def length(self) -> int:
        """L, of every window."""
        return self._windows.length

    def spans(self, position: int) -> list[Span]:
        """The parts of the window at a position ≥ 0: L tokens of a track, or of several."""
        cycle, in_cycle = divmod(position, self._per_cycle)
        shift_E, ends_E = self._cycle(cycle)
        epoch = int(np.searchsorted(ends_E, in_cycle, side="right"))
        plan = self._epoch(cycle * self._windows.length + epoch, int(shift_E[epoch]))
        place = in_cycle - ends_E[epoch]  # from the epoch's end
        return self._cut(plan, int(plan.shuffled_W[place]))

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng((self._seed, *key))

    def _draw_cycle(self, cycle: int) -> tuple[np.ndarray, np.ndarray]:
        """The shift of each epoch, and how many windows the cycle has had at its end; (E,)."""
        shift_E = self._rng(_Draw.CYCLE, cycle).permutation(self._windows.length)
        return shift_E, np.cumsum(self._windows_U[shift_E])

    def _draw_epoch(self, epoch: int, shift: int) -> _Epoch:
        windows, rng = self._windows, self._rng(_Draw.EPOCH, epoch)
        phase_P = 1 + (self._phase_P + shift) % windows.length
        count_P = self._fewest_P + (phase_P <= self._rest_P)
        joined_N = rng.permutation(windows.short_N)
        if windows.tokens_T[joined_N].sum(dtype=np.int64) < windows.length and len(joined_N):
            joined_N = np.append(joined_N, rng.choice(windows.long_N))
        return _Epoch(
            phase_P,
            np.cumsum(count_P) - count_P,
            rng.permutation(count_P.sum()),
            joined_N,
            np.cumsum(windows.tokens_T[joined_N], dtype=np.int64),
        )

    def _cut(self, plan: _Epoch, window: int) -> list[Span]:
        length = self._windows.length
        piece = int(np.searchsorted(plan.first_P, window, side="right")) - 1
        tile = window - int(plan.first_P[piece])
        start = int(plan.phase_P[piece]) + (tile - 1) * length if tile else 0
        start = min(start, int(self._tokens_P[piece]) - length)
        if piece < len(self._windows.long_N):
            return [Span(int(self._windows.long_N[piece]), start, start + length)]
        spans, stop = [], start + length
        track = int(np.searchsorted(plan.joined_ends_N, start, side="right"))
        while start < stop:
            end = int(plan.joined_ends_N[track])
            begin = end - int(self._windows.tokens_T[plan.joined_N[track]])
            spans.append(Span(int(plan.joined_N[track]), start - begin, min(end, stop) - begin))
            start, track = min(end, stop), track + 1
        return spans


class _HostBatches:
    """Random access to the rows of one host: its item i is the rows rows_R of step i."""

    def __init__(
        self,
        dataset: TokenDataset,
        split: str,
        order: WindowOrder,
        batch_size: int,
        rows_R: np.ndarray,
        condition_of: Callable[[Sequence[str], Vectors], Any] | None,
    ):
        self._dataset, self._split, self._order = dataset, split, order
        self._batch_size, self._rows_R = batch_size, rows_R
        self._condition_of = condition_of

    def __len__(self) -> int:
        return sys.maxsize // (2 * self._batch_size)  # endless

    def __getitem__(self, step: int) -> Any:
        # Each row is written where it stays: rows that Grain stacks cost half as much again.
        tokens_RxL = np.empty((len(self._rows_R), self._order.length), np.int32)
        conditions = []
        for tokens_L, row in zip(tokens_RxL, self._rows_R, strict=True):
            spans = self._order.spans(step * self._batch_size + int(row))
            records = [self._dataset.read(self._split, span.track) for span in spans]
            begin = 0
            for record, span in zip(records, spans, strict=True):
                end = begin + span.stop - span.start
                tokens_L[begin:end] = record.tokens[span.start : span.stop]
                begin = end
            if self._condition_of is not None:
                shared = set(records[0].tags).intersection(*(record.tags for record in records))
                condition = self._condition_of(sorted(shared), _vectors(records, spans))
                conditions.append(condition)
        if self._condition_of is None:
            return tokens_RxL
        return tokens_RxL, jax.tree.map(lambda *values_R: np.stack(values_R), *conditions)

    def __repr__(self) -> str:
        return f"HostBatches({len(self._rows_R)} of {self._batch_size} rows)"


def training_batches(
    dataset: TokenDataset,
    split: str,
    *,
    length: int,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    rows_R: np.ndarray | None = None,
    condition_of: Callable[[Sequence[str], Vectors], Any] | None = None,
) -> Iterator[Any]:
    """Endless (R, L) int32 batches from `start_step` on, read ahead by threads.

    batch_size: B, of the global batch; rows_R: ascending indices of the rows of it to read, all by
    default. condition_of: (tags, vectors) → a row's condition, a pytree of arrays; batches are then
    pairs of tokens and condition. A window of joined tracks has the tags that all of them have, and
    of the kinds of vectors that all of them have the mean over its tokens.
    Raises UserError for an unusable split now, for a damaged record when it is read.
    """
    order = WindowOrder(plan_windows(dataset, split, length), seed)
    rows_R = np.arange(batch_size) if rows_R is None else rows_R
    batches = _HostBatches(dataset, split, order, batch_size, rows_R, condition_of)
    options = grain.ReadOptions(num_threads=READ_THREADS, prefetch_buffer_size=PREFETCHED_BATCHES)
    iterator = iter(grain.MapDataset.source(batches).to_iter_dataset(options))
    grain.experimental.set_next_index(iterator, start_step)
    return iterator


def _vectors(records: Sequence[Record], spans: Sequence[Span]) -> Vectors:
    """The vectors of a window."""
    if len(records) == 1:
        return records[0].vectors
    tokens_S = [span.stop - span.start for span in spans]
    shared = set(records[0].vectors).intersection(*(record.vectors for record in records))
    return {
        kind: np.average([record.vectors[kind] for record in records], axis=0, weights=tokens_S)
        for kind in shared
    }


def fingerprint(dataset: TokenDataset, split: str) -> str:
    """Identity of a split's tokens and their order: the same for a copy, another for other data."""
    meta = json.loads((dataset.path / DATASET_FILE).read_text(encoding="utf-8"))
    digest = hashlib.sha256()
    for shard in meta["splits"][split]["shards"]:
        digest.update(bytes.fromhex(shard["sha256"]))
    return digest.hexdigest()
