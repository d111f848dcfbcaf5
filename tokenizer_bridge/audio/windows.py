"""Long tracks in overlapping windows, and batches of windows of equal length.

A codec's cost and memory grow with the length of its input, padding changes its codes, and near
the ends of its input it lacks context. So a long track is cut into windows of one length that
overlap; when they are joined, what each has near its inner ends is left out (codes) or faded over
(audio). All windows of a track are equally long: the last one is moved back until it is.
Lengths and positions are in codes, of `hop` samples each.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from tokenizer_bridge.token_dataset.errors import UserError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Windowing:
    """The cut of long tracks, in codes: `length` of a window, `overlap` of two, at least."""

    length: int
    overlap: int

    @staticmethod
    def from_seconds(length_s: float, overlap_s: float, codes_per_s: float) -> "Windowing":
        """A cut given in seconds. Raises UserError unless 0 ≤ overlap ≤ half the length."""
        length, overlap = round(length_s * codes_per_s), round(overlap_s * codes_per_s)
        if length < 1 or not 0 <= overlap_s <= length_s / 2:
            raise UserError(
                f"windows of {length_s:g} s that share {overlap_s:g} s: a window must be longer "
                "than nothing, and the overlap between nothing and half a window"
            )
        return Windowing(length, overlap)

    def starts(self, total: int) -> list[int]:
        """The starts of the windows of a track of `total` codes."""
        if total <= self.length:
            return [0]
        step = self.length - self.overlap
        return [*range(0, total - self.length, step), total - self.length]


def spread_starts(total: int, length: int, count: int) -> np.ndarray:
    """Starts (count,) of stretches spread evenly over `total`, the first at 0, the last at the end.

    length: of a stretch, at most `total`; more than fit side by side overlap.
    """
    return np.linspace(0, total - length, count).astype(int)


def cut_audio(
    blocks: Iterable[np.ndarray], windowing: Windowing, hop: int
) -> Iterator[tuple[int, np.ndarray, bool]]:
    """Cut a track that arrives in blocks of samples; at most two windows are held.

    blocks: (T,) float32 each. Yields (start in codes, samples, whether it is the last) for each of
    `windowing.starts`; the last one after all blocks have come. A track of one window is yielded at
    its own length; a longer one is filled up with zeros to whole codes, and each window is
    (length·hop,).
    """
    length, step = windowing.length * hop, (windowing.length - windowing.overlap) * hop
    held = np.zeros(0, np.float32)  # from sample `first` on
    first = next_start = 0
    for block in blocks:
        held = np.concatenate([held, block])
        # Strictly more than a window: the last window is cut only once the end is known.
        while first + len(held) > next_start + length:
            held = held[next_start - first :]
            first = next_start
            yield first // hop, held[:length], False
            next_start += step
    total = first + len(held)
    if total <= length:
        yield 0, held, True
    else:
        padding = -total % hop
        held = np.concatenate([held, np.zeros(padding, np.float32)])
        yield (total + padding - length) // hop, held[-length:], True


def join_codes(pieces: Sequence[tuple[int, np.ndarray]], overlap: int) -> np.ndarray:
    """Join windows of codes (start, (L,)), in any order, into a track's codes.

    Of what two neighbours share, the later one gives way for overlap // 2 codes, which it has
    computed without what comes before.
    """
    pieces = sorted(pieces, key=lambda piece: piece[0])
    cuts = [start + overlap // 2 for start, _ in pieces]
    cuts[0] = 0
    ends = [*cuts[1:], pieces[-1][0] + len(pieces[-1][1])]
    kept = [
        codes[cut - start : end - start]
        for (start, codes), cut, end in zip(pieces, cuts, ends, strict=True)
    ]
    return np.concatenate(kept)


def join_audio(pieces: Sequence[tuple[int, np.ndarray]], overlap: int, hop: int) -> np.ndarray:
    """Join windows of audio (start in codes, (length·hop,)), in any order, with cross-fades.

    In the middle half of what two neighbours share by plan, one fades into the other (raised
    cosine, constant gain: both hold the same music); the outer quarters lack context and are left
    out.
    """
    pieces = sorted(pieces, key=lambda piece: piece[0])
    quarter = overlap * hop // 4
    fade = overlap * hop - 2 * quarter
    rise = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    total = pieces[-1][0] * hop + len(pieces[-1][1])
    joined = np.zeros(total, np.float32)
    for index, (start, audio) in enumerate(pieces):
        begin = start * hop
        if index == 0:
            joined[begin : begin + len(audio)] = audio
            continue
        middle = begin + quarter + fade
        joined[begin + quarter : middle] *= 1 - rise
        joined[begin + quarter : middle] += audio[quarter : quarter + fade] * rise
        joined[middle : begin + len(audio)] = audio[quarter + fade :]
    return joined


def batches_of_equal_length(
    items: Iterable[Item], length: Callable[[Item], int], batch_size: int
) -> Iterator[list[Item]]:
    """Group items of equal length into batches of at most batch_size, few of them smaller.

    Items of one length keep their order. At most 4 · batch_size items are held back: beyond it, the
    length that has waited longest goes.
    """
    waiting: dict[int, list[Item]] = {}  # length -> items; the oldest first
    count = 0
    for item in items:
        waiting.setdefault(length(item), []).append(item)
        count += 1
        full = len(waiting[length(item)]) == batch_size
        if full or count > 4 * batch_size:
            batch = waiting.pop(length(item) if full else next(iter(waiting)))
            count -= len(batch)
            yield batch
    yield from waiting.values()


@dataclass(frozen=True, eq=False, kw_only=True)
class Window:
    """A window of a piece (audio or codes) on its way through a codec.

    content: (T,) audio or (L,) codes. results: (start, result) of the piece's windows that have
    been through it, in their order; one list, which they share.
    """

    start: int  # in codes
    content: np.ndarray
    results: list[tuple[int, np.ndarray]]
    is_last: bool  # of its piece


AnyWindow = TypeVar("AnyWindow", bound=Window)


def in_batches(
    windows: Iterable[AnyWindow],
    process: Callable[[np.ndarray, np.ndarray], np.ndarray],
    batch_size: int,
    map_batches: Callable[[Callable, Iterable], Iterable] = map,
) -> Iterator[list[AnyWindow]]:
    """Put windows of many pieces through a codec, those of equal length together.

    windows: those of a piece in their order, all of one length. process: from a batch of contents,
    (B, T) or (B, L), and their starts in codes, (B,) int64, to their results, a row each.
    map_batches: applies it to the batches, results in order, as `map` does. Yields every batch when
    its windows' results are in their lists: after a piece's last window the piece is complete,
    since items of one length keep their order.
    """

    def done(batch: list[AnyWindow]) -> tuple[list[AnyWindow], np.ndarray]:
        starts_B = np.array([window.start for window in batch])
        return batch, process(np.stack([window.content for window in batch]), starts_B)

    batches = batches_of_equal_length(windows, lambda each: len(each.content), batch_size)
    for batch, results in map_batches(done, batches):
        for window, result in zip(batch, results, strict=True):
            # A copy, made when the batch's tensors are free again: the original lies between them,
            # and kept for a piece's length it would split that memory for good.
            window.results.append((window.start, result.copy()))
        yield batch
