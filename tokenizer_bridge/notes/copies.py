"""The longest stretch that a sequence shares with a large set of others: does a model copy?

Works for tokens and for whatever else is written as whole numbers. Q positions of the sequences
that are asked about, S positions of the set that still match, K sequences.

Stretches of n symbols are compared by hashes of 64 bits, first of `at_least` symbols, then of one
more, and so on; at each step those that match nothing drop out on both sides. The set is read in
chunks, so that memory does not grow with it, and every answer is compared symbol by symbol.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_CHUNK = 2**23  # symbols of the set at a time; about 0.4 GB
_FILTER_BITS = 24
_MANY = 2**20  # hashes, from which on it is worth to filter them first
_ODD = np.uint64(0x9E3779B97F4A7C15)  # base of the polynomial hash


@dataclass(frozen=True)
class Shared:
    """A stretch of `length` symbols that begins at `start` of a sequence, and at `other_start` of
    the set's sequence number `other`. All are 0 where nothing is shared."""

    length: int = 0
    start: int = 0
    other: int = 0
    other_start: int = 0


def longest_shared(
    sequences: Sequence[np.ndarray],
    others: Iterable[np.ndarray],
    num_symbols: int,
    at_least: int = 1,
    chunk: int = _CHUNK,
) -> list[Shared]:
    """For each sequence the longest stretch, of `at_least` symbols, that any of `others` has too.

    sequences, others: (L,) of whole numbers in [0, num_symbols), read once and in order.
    """
    rng = np.random.default_rng(0)
    # Two symbols that nothing else has, so that no stretch crosses an end.
    values_V = rng.integers(2**64, size=num_symbols + 2, dtype=np.uint64)
    asked = _Joined(sequences, end=num_symbols)
    found = [Shared()] * len(sequences)
    for first, tracks in _chunks(others, chunk):
        _look_up(asked, _Joined(tracks, end=num_symbols + 1), first, values_V, at_least, found)
    return found


class _Joined:
    """Sequences one behind the other, each followed by the symbol `end`."""

    def __init__(self, sequences: Sequence[np.ndarray], end: int):
        lengths_K = np.array([len(sequence) + 1 for sequence in sequences], np.int64)
        self.starts_K = np.cumsum(lengths_K) - lengths_K
        self.symbols = np.full(int(lengths_K.sum()), end, np.int32)
        for start, sequence in zip(self.starts_K, sequences, strict=True):
            self.symbols[start : start + len(sequence)] = sequence

    def sequence_of(self, positions: np.ndarray) -> np.ndarray:
        """The number of the sequence that each position lies in."""
        return np.searchsorted(self.starts_K, positions, side="right") - 1


def _chunks(others: Iterable[np.ndarray], chunk: int) -> Iterator[tuple[int, list[np.ndarray]]]:
    """(number of the first, sequences) of at least `chunk` symbols together, but for the last."""
    first, tracks, total = 0, [], 0
    for track in others:
        tracks.append(track)
        total += len(track)
        if total >= chunk:
            yield first, tracks
            first, tracks, total = first + len(tracks), [], 0
    if tracks:
        yield first, tracks


def _look_up(
    asked: _Joined,
    chunk: _Joined,
    first: int,
    values_V: np.ndarray,
    at_least: int,
    found: list[Shared],
) -> None:
    """Put what this chunk has longer into `found`. first: the number of its first sequence."""
    best_K = np.array([shared.length for shared in found])
    length = max(at_least, int(best_K.min()) + 1)  # nothing shorter is news
    asked_Q, asked_hashes_Q = _begin(asked.symbols, length, values_V)
    chunk_S, hashes_S = _begin(chunk.symbols, length, values_V)
    places: dict[int, tuple[int, int]] = {}
    while True:
        if len(hashes_S) > _MANY:
            # A table of the hashes' lowest bits drops nearly all at the price of one look.
            table = np.zeros(2**_FILTER_BITS, bool)
            mask = np.uint64(2**_FILTER_BITS - 1)
            table[asked_hashes_Q & mask] = True
            kept = table[hashes_S & mask]
            chunk_S, hashes_S = chunk_S[kept], hashes_S[kept]
        kept = np.isin(hashes_S, asked_hashes_Q)
        chunk_S, hashes_S = chunk_S[kept], hashes_S[kept]
        if not len(chunk_S):
            break
        order_S = np.argsort(hashes_S, kind="stable")
        place_Q = np.searchsorted(hashes_S, asked_hashes_Q, sorter=order_S)
        place_Q = order_S[np.minimum(place_Q, len(order_S) - 1)]
        kept = hashes_S[place_Q] == asked_hashes_Q
        asked_Q, asked_hashes_Q, place_Q = asked_Q[kept], asked_hashes_Q[kept], place_Q[kept]
        numbers_K, one_Q = np.unique(asked.sequence_of(asked_Q), return_index=True)
        for number, one in zip(numbers_K, one_Q, strict=True):
            if length > best_K[number]:
                places[int(number)] = int(asked_Q[one]), int(chunk_S[place_Q[one]])
                best_K[number] = length
        if length & (length - 1) == 0:  # a power of two
            kept = _unsettled(asked, chunk, asked_Q, chunk_S[place_Q], length, best_K, places)
            asked_Q, asked_hashes_Q = asked_Q[kept], asked_hashes_Q[kept]
        asked_Q, asked_hashes_Q = _longer(asked.symbols, asked_Q, asked_hashes_Q, length, values_V)
        chunk_S, hashes_S = _longer(chunk.symbols, chunk_S, hashes_S, length, values_V)
        length += 1
    for number, (place, other_place) in places.items():
        size = int(best_K[number])
        here = asked.symbols[place : place + size]
        there = chunk.symbols[other_place : other_place + size]
        if not np.array_equal(here, there):
            raise RuntimeError("two stretches that differ have the same hash of 64 bits")
        other = int(chunk.sequence_of(np.array(other_place)))
        start, other_start = place - asked.starts_K[number], other_place - chunk.starts_K[other]
        found[number] = Shared(size, int(start), first + other, int(other_start))


def _unsettled(
    asked: _Joined,
    chunk: _Joined,
    asked_Q: np.ndarray,
    places_Q: np.ndarray,
    length: int,
    best_K: np.ndarray,
    places: dict[int, tuple[int, int]],
) -> np.ndarray:
    """(Q,) bool: positions of sequences whose longest stretch in this chunk is not known yet.

    asked_Q, places_Q: where stretches of `length` begin that match, and one place each where they
    do. A longer stretch needs matches at positions that follow each other, so that no sequence has
    one that is longer than its longest run of them; a stretch as long as that ends the search, and
    copies of thousands of symbols cost no thousands of steps. Such stretches go into `places` and
    `best_K`.
    """
    first_R = np.flatnonzero(np.diff(asked_Q, prepend=-2) != 1)  # of R runs
    size_R = np.diff(first_R, append=len(asked_Q))
    number_R = asked.sequence_of(asked_Q[first_R])
    by_size = np.lexsort((-size_R, number_R))
    numbers_K, longest_K = np.unique(number_R[by_size], return_index=True)
    settled = []
    for number, run in zip(numbers_K.tolist(), by_size[longest_K].tolist(), strict=True):
        most = length + int(size_R[run]) - 1
        place, other = int(asked_Q[first_R[run]]), int(places_Q[first_R[run]])
        here, there = asked.symbols[place : place + most], chunk.symbols[other : other + most]
        common = min(len(here), len(there))
        differ = np.flatnonzero(here[:common] != there[:common])
        size = int(differ[0]) if len(differ) else common
        if size > best_K[number]:
            places[number] = place, other
            best_K[number] = size
        if best_K[number] >= most:
            settled.append(number)
    return ~np.isin(asked.sequence_of(asked_Q), settled)


def _begin(symbols: np.ndarray, length: int, values_V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every position at which a stretch of `length` symbols begins, and the stretch's hash."""
    count = max(0, len(symbols) - length + 1)
    hashes = np.zeros(count, np.uint64)
    for i in range(length):
        hashes *= _ODD
        hashes += values_V[symbols[i : i + count]]
    return np.arange(count), hashes


def _longer(
    symbols: np.ndarray,
    positions: np.ndarray,
    hashes: np.ndarray,
    length: int,
    values_V: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """The same stretches with one symbol more, as far as there is one."""
    there_is = positions + length < len(symbols)
    positions, hashes = positions[there_is], hashes[there_is]
    return positions, hashes * _ODD + values_V[symbols[positions + length]]
