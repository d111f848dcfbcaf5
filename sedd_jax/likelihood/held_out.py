"""Windows over a split that is measured: every token of every track counts once.

A track of n ≥ L tokens is cut at 0, L, 2L, …; its last window ends at n and overlaps the one before
where n is no multiple of L, and of it only the n mod L tokens count that the one before lacks. A
track shorter than L is one window of the end of what stands before it in the split, which does not
count, and then the track: so the network sees the length that it was trained for, and no codes that
are not music. (The first tracks of a split stand behind its last.)

So it is always the end of a window that counts. The network reads the rest, noised too, and the sum
is a bound still: whoever decodes the tracks in order knows the rest from windows before, can noise
it himself, and pays for the new tokens what the bound charges at their positions.

A model may know only the first of the codec's codes (config.graph.num_codes). A token of another
code is unknown to it: the network sees the mask there at every noise level, and it does not count.

W windows, L window length.
"""

from dataclasses import dataclass, replace

import numpy as np

from sedd_jax.data import plan_windows
from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.intervals import artist_numbers
from tokenizer_bridge.token_dataset.records import TokenDataset
from tokenizer_bridge.token_dataset.vectors import Vectors


@dataclass(frozen=True)
class SplitWindows:
    """Windows that are measured.

    tokens_WxL: uint16; track_W: index of the window's track; part_W: which of its track's windows
    it is, from 0; new_W: how many tokens no window before has, the last ones of the window; ids,
    artists (None if unknown), tags, vectors: of every track of the split; num_codes: codes from
    this one on are unknown.
    """

    tokens_WxL: np.ndarray
    track_W: np.ndarray
    part_W: np.ndarray
    new_W: np.ndarray
    ids: tuple[str, ...]
    artists: tuple[str | None, ...]
    tags: tuple[tuple[str, ...], ...]
    vectors: tuple[Vectors, ...]
    num_codes: int = 2**16

    def __len__(self) -> int:
        return len(self.track_W)

    @property
    def num_tracks(self) -> int:
        return len(np.unique(self.track_W))

    @property
    def artist_W(self) -> np.ndarray:
        """A number for each window's artist; a track whose artist is unknown has its own."""
        return artist_numbers(self.artists)[self.track_W]

    @property
    def begin_W(self) -> np.ndarray:
        """The first position that belongs to the window's track: 0 but for short tracks."""
        length = self.tokens_WxL.shape[1]
        return np.where(self.part_W == 0, length - self.new_W, 0)

    @property
    def counts_WxL(self) -> np.ndarray:
        """The tokens that count, bool: new ones of a code that is known."""
        length = self.tokens_WxL.shape[1]
        is_new_WxL = np.arange(length)[None, :] >= (length - self.new_W)[:, None]
        return is_new_WxL & (self.tokens_WxL < self.num_codes)

    @property
    def counted_W(self) -> np.ndarray:
        """The number of tokens of each window that count."""
        return self.counts_WxL.sum(axis=1)

    def total(self, values_WxL: np.ndarray) -> np.ndarray:
        """Sums over the tokens that count (W,)."""
        return np.where(self.counts_WxL, values_WxL, 0).sum(axis=1)

    def knowing(self, num_codes: int) -> "SplitWindows":
        """The windows as a model of the first `num_codes` codes can be measured on them.

        Raises UserError when it knows none of the tokens.
        """
        windows = replace(self, num_codes=num_codes)
        counted_W = windows.counted_W
        if not counted_W.any():
            raise UserError(f"no token of these tracks is below {num_codes}, the model's codes")
        return windows.take(np.flatnonzero(counted_W))

    def take(self, window_N: np.ndarray) -> "SplitWindows":
        """Some of the windows."""
        return replace(
            self,
            tokens_WxL=self.tokens_WxL[window_N],
            track_W=self.track_W[window_N],
            part_W=self.part_W[window_N],
            new_W=self.new_W[window_N],
        )

    def spread(self, num_windows: int) -> "SplitWindows":
        """A choice of `num_windows` or fewer: one window from each of so many equal parts.

        Which one is drawn, always alike: at even steps, tracks of equal length would all be
        measured at the same place.
        """
        if num_windows >= len(self):
            return self
        edges = np.arange(num_windows + 1) * len(self) // num_windows
        return self.take(np.random.default_rng(0).integers(edges[:-1], edges[1:]))


def cut_windows(dataset: TokenDataset, split: str, length: int) -> SplitWindows:
    """The windows of a split, tracks in order.

    Raises UserError for a missing split, one that does not fill a window, or a damaged record.
    """
    tokens_T = plan_windows(dataset, split, length).tokens_T
    before = _last_tokens(dataset, split, length)  # of all that stands before a track
    ids, artists, tags, vectors, windows, track, part, new = ([] for _ in range(8))
    for i, record in enumerate(dataset.records(split)):
        ids.append(record.id)
        artists.append(record.artist)
        tags.append(record.tags)
        vectors.append(record.vectors)
        before = np.concatenate([before[-length:], record.tokens])
        # Of a long track, `tokens` is the track; of a short one, a window that ends with it.
        tokens = before[-max(len(record.tokens), length) :]
        ends = np.minimum(np.arange(length, len(tokens) + length, length), len(tokens))
        windows += [tokens[end - length : end] for end in ends]
        track += [i] * len(ends)
        part += range(len(ends))
        new += np.diff(ends, prepend=length - min(length, int(tokens_T[i]))).tolist()
    return SplitWindows(
        np.stack(windows),
        np.array(track),
        np.array(part),
        np.array(new),
        tuple(ids),
        tuple(artists),
        tuple(tags),
        tuple(vectors),
    )


def _last_tokens(dataset: TokenDataset, split: str, length: int) -> np.ndarray:
    """The last `length` tokens of a split's tracks end to end (length,)."""
    tokens, i = np.zeros(0, np.uint16), dataset.num_records(split)
    while len(tokens) < length:
        i -= 1
        tokens = np.concatenate([dataset.read(split, i).tokens, tokens])
    return tokens[-length:]
