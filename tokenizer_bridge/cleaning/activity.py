"""Energy-based activity: where a track has music, and the track without the rest."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tokenizer_bridge.cleaning.bounds import FADE_S, Activity
from tokenizer_bridge.cleaning.levels import FLOOR_DB, Levels


def active_stretches(levels: Levels, sample_rate: int, activity: Activity) -> list[tuple[int, int]]:
    """The stretches to keep, padding included, as (start, stop) in samples; apart and in order."""
    on_db = max(levels.track_db + activity.on_db, FLOOR_DB)
    off_db = max(levels.track_db + activity.off_db, FLOOR_DB)
    frame = levels.frame
    found: list[list[int]] = []
    for start, stop in _runs(levels.frames_F > off_db):
        if not (levels.frames_F[start:stop] > on_db).any():
            continue
        begin, end = start * frame, min(stop * frame, levels.num_samples)
        if found and begin - found[-1][1] < activity.min_silent_s * sample_rate:
            found[-1][1] = end
        else:
            found.append([begin, end])
    padding = round(activity.padding_s * sample_rate)
    return [
        (max(0, begin - padding), min(end + padding, levels.num_samples))
        for begin, end in found
        if end - begin >= activity.min_active_s * sample_rate
    ]


def keep(
    blocks: Iterable[np.ndarray],
    stretches: Sequence[tuple[int, int]],
    num_samples: int,
    sample_rate: int,
) -> Iterator[np.ndarray]:
    """The stretches of a track that arrives in (T,) blocks, joined, as blocks.

    Each stretch fades into the next over FADE_S (raised cosine, constant gain), in from nothing and
    out to nothing where the track's own start and end are dropped. A track kept whole is unchanged.
    """
    fade = round(FADE_S * sample_rate)
    rise_T = np.sin(np.linspace(0, np.pi / 2, fade, dtype=np.float32)) ** 2
    tail_T = np.zeros(fade, np.float32)  # of the stretch before, faded out
    held: list[np.ndarray] = []  # the last `fade` samples of this one
    for start, stop, at, piece in _cut(blocks, stretches):
        fading = min(len(piece), fade - at)
        if fading > 0 and start > 0:
            piece = piece.copy()
            piece[:fading] *= rise_T[at : at + fading]
            piece[:fading] += tail_T[at : at + fading]
        body = max(0, stop - fade - (start + at))  # samples before the last `fade` of the stretch
        yield piece[:body]
        held.append(piece[body:])
        if start + at + len(piece) == stop:
            tail_T, held = np.concatenate(held), []
            if stop < num_samples:
                tail_T = tail_T * rise_T[::-1]
    yield tail_T


def kept_samples(stretches: Sequence[tuple[int, int]], sample_rate: int) -> int:
    """The length in samples of the stretches when joined: joins overlap by FADE_S."""
    joins = max(0, len(stretches) - 1)
    return sum(stop - start for start, stop in stretches) - joins * round(FADE_S * sample_rate)


def _cut(
    blocks: Iterable[np.ndarray], stretches: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int, int, np.ndarray]]:
    """(start, stop, offset in the stretch, samples) of every piece of a block in a stretch."""
    waiting = iter(stretches)
    current = next(waiting, None)
    first = 0  # sample of the block
    for block in blocks:
        end = first + len(block)
        while current is not None and current[0] < end:
            start, stop = current
            begin = max(start, first)
            yield start, stop, begin - start, block[begin - first : min(stop, end) - first]
            if stop > end:
                break
            current = next(waiting, None)
        first = end


def _runs(mask_F: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of the runs of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask_F, [False]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
