"""Stretches of tokens that occur more than once, and tracks that equal each other.

Every n-gram gets a hash; those whose hash is 0 modulo `one_in` are kept as anchors. What is kept
depends on the n-gram alone, so that both places of a repeated stretch keep the same anchors, and
memory is bounded however many tokens there are. With one_in = 1 every repeated stretch of n tokens
or more is found; else one of l tokens is missed with a chance of (1 − 1/one_in)^(l − n + 1).
N-grams of a single code are left out: they are runs, counted elsewhere.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

NGRAM = 32  # tokens; 0.4 s at 75 tokens/s
_MAX_ANCHORS = 2**22  # 64 MiB
_ODD = np.uint64(0x9E3779B97F4A7C15)  # base of the polynomial hash; odd: invertible modulo 2^64


@dataclass(frozen=True)
class Stretch:
    """The same `length` tokens at two places: (track number, first token)."""

    length: int
    first: tuple[int, int]
    second: tuple[int, int]


class StretchFinder:
    """Fed the tracks one by one, in the order of their numbers 0, 1, …

    num_tokens: of all tracks together. num_codes: of the codec.
    """

    def __init__(self, num_tokens: int, num_codes: int, max_anchors: int = _MAX_ANCHORS):
        self.one_in = 1
        while num_tokens // self.one_in > max_anchors:
            self.one_in *= 2
        rng = np.random.default_rng(0)
        self._values_V = rng.integers(2**64, size=num_codes, dtype=np.uint64)
        self._powers = np.ones(1, np.uint64)  # base^i
        self._inverses = np.ones(1, np.uint64)  # base^-i
        self._hashes: list[np.ndarray] = []
        self._tracks: list[np.ndarray] = []
        self._places: list[np.ndarray] = []
        self._digests: list[bytes] = []

    def add(self, tokens_L: np.ndarray) -> None:
        """The next track."""
        track = len(self._digests)
        self._digests.append(hashlib.blake2b(tokens_L.tobytes(), digest_size=16).digest())
        if len(tokens_L) < NGRAM:
            return
        hashes_N = self._hash(tokens_L)
        changes_L = np.concatenate([[0], np.cumsum(tokens_L[1:] != tokens_L[:-1])])
        varied_N = changes_L[NGRAM - 1 :] > changes_L[: len(hashes_N)]
        kept_K = np.flatnonzero(varied_N & (hashes_N % np.uint64(self.one_in) == 0))
        self._hashes.append(hashes_N[kept_K])
        self._tracks.append(np.full(len(kept_K), track, np.int32))
        self._places.append(kept_K.astype(np.int32))

    def equal_tracks(self) -> list[list[int]]:
        """Groups of tracks with the same tokens throughout, largest first."""
        counts = Counter(self._digests)
        groups: dict[bytes, list[int]] = {}
        for track, digest in enumerate(self._digests):
            if counts[digest] > 1:
                groups.setdefault(digest, []).append(track)
        return sorted(groups.values(), key=len, reverse=True)

    def repeated(
        self, read: Callable[[int], np.ndarray], count: int
    ) -> tuple[int, int, list[Stretch]]:
        """Anchors in all, those that occur elsewhere too, and the `count` longest stretches.

        read: the tokens (L,) of a track. Stretches are looked for where most anchors are shared;
        pairs of tracks that are equal throughout are left out of them.
        """
        if not self._hashes:
            return 0, 0, []
        hashes_K, tracks_K, places_K = map(
            np.concatenate, (self._hashes, self._tracks, self._places)
        )
        order_K = np.argsort(hashes_K, kind="stable")  # within a hash by track, then place
        hashes_K, tracks_K, places_K = hashes_K[order_K], tracks_K[order_K], places_K[order_K]
        same_N = hashes_K[1:] == hashes_K[:-1]  # (K − 1,)
        elsewhere = np.zeros(len(hashes_K), bool)
        elsewhere[1:] |= same_N
        elsewhere[:-1] |= same_N
        left_P = np.flatnonzero(same_N)
        pairs_Px3 = np.stack(
            [tracks_K[left_P], tracks_K[left_P + 1], places_K[left_P + 1] - places_K[left_P]], 1
        )
        # Anchors of one stretch share both tracks and the distance between the places.
        diagonals_Dx3, anchors_D = np.unique(pairs_Px3, axis=0, return_counts=True)
        stretches: list[Stretch] = []
        for diagonal in np.argsort(-anchors_D, kind="stable"):
            a, b, distance = (int(value) for value in diagonals_Dx3[diagonal])
            if a == b or self._digests[a] != self._digests[b]:
                stretches.append(_longest(a, b, distance, read))
            if len(stretches) == count:
                break
        longest = sorted(stretches, key=lambda stretch: -stretch.length)
        return len(hashes_K), int(elsewhere.sum()), longest

    def _hash(self, tokens_L: np.ndarray) -> np.ndarray:
        """(L − NGRAM + 1,) uint64: polynomial hashes by prefix sums modulo 2^64, then mixed."""
        length = len(tokens_L)
        if length > len(self._powers):
            inverse = np.uint64(pow(int(_ODD), -1, 2**64))
            self._powers = np.cumprod(np.concatenate([[np.uint64(1)], np.full(length, _ODD)]))
            self._inverses = np.cumprod(np.concatenate([[np.uint64(1)], np.full(length, inverse)]))
        prefix = np.zeros(length + 1, np.uint64)
        np.cumsum(self._values_V[tokens_L] * self._powers[:length], out=prefix[1:])
        hashes_N = (prefix[NGRAM:] - prefix[:-NGRAM]) * self._inverses[: length - NGRAM + 1]
        # The lowest bits of such a product depend on the lowest bits of its factors alone.
        hashes_N ^= hashes_N >> np.uint64(31)
        hashes_N *= np.uint64(0xBF58476D1CE4E5B9)
        return hashes_N ^ (hashes_N >> np.uint64(29))


def _longest(a: int, b: int, distance: int, read: Callable[[int], np.ndarray]) -> Stretch:
    """The longest run of places i at which token i of track a is token i + distance of track b."""
    first_a, first_b = max(0, -distance), max(0, distance)
    tokens_a, tokens_b = read(a)[first_a:], read(b)[first_b:]
    length = min(len(tokens_a), len(tokens_b))
    differ = np.flatnonzero(tokens_a[:length] != tokens_b[:length])
    bounds = np.concatenate([[-1], differ, [length]])  # a run lies between two of them
    run = int(np.diff(bounds).argmax())
    start, stop = int(bounds[run]) + 1, int(bounds[run + 1])
    return Stretch(stop - start, (a, first_a + start), (b, first_b + start))
