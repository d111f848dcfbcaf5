"""Windows of pieces that are longer than what a network is trained on.

A piece is drawn in windows of one length, one after another, each given what is known in it: the
end of the window before, of half its length by default, and whatever was known from the start. The
windows of a piece follow from its own known positions alone.

Letters: T length of the piece, W of a window.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A window from `start` on; is_taken_W: which of its tokens are drawn there for good."""

    start: int
    is_taken_W: np.ndarray


def plan(is_known_T: np.ndarray, window: int, overlap: int) -> Iterator[Window]:
    """The windows, in order, that make unknown positions known; none where there are none.

    Each begins `overlap` < window tokens before the first position that is still unknown. Where the
    run of unknown positions from there on leaves room for an eighth of a window at either side, it
    begins nearer to the run instead, so that as much stands behind it as before it. It takes all
    that is unknown in it; but a later run that its end cuts waits for the next window, which knows
    what follows.
    """
    is_unknown_T = ~np.asarray(is_known_T)
    total = len(is_unknown_T)
    window = min(window, total)
    while is_unknown_T.any():
        first = int(is_unknown_T.argmax())
        after = np.flatnonzero(~is_unknown_T[first:])
        run = int(after[0]) if len(after) else total
        room = (window - run) // 2  # at either side of the run
        before = min(overlap, room) if room >= window // 8 else overlap
        start = min(max(first - before, 0), total - window)
        end = start + window
        is_taken_W = is_unknown_T[start:end].copy()
        if end < total and is_unknown_T[end]:
            known_W = np.flatnonzero(~is_taken_W)
            cut = int(known_W[-1]) + 1 if len(known_W) else 0
            if start + cut > first:
                is_taken_W[cut:] = False
        is_unknown_T[start:end] &= ~is_taken_W
        yield Window(start, is_taken_W)


class Pieces:
    """The pieces of a batch, while their windows are drawn.

    tokens_BxT: uint16, those that are there; windows_B: how many windows each takes.
    """

    def __init__(self, num: int, length: int, window: int, overlap: int):
        self._window, self._overlap = min(window, length), overlap
        self.fill(np.zeros((num, length), np.uint16), np.zeros((num, length), bool))

    def fill(self, tokens_BxT: np.ndarray, is_known_BxT: np.ndarray) -> None:
        """Sets what is known from the start."""
        self.tokens_BxT = tokens_BxT.astype(np.uint16)
        self._is_known_BxT = is_known_BxT.copy()
        self._plan_B = [list(plan(row, self._window, self._overlap)) for row in is_known_BxT]
        self.windows_B = np.array(list(map(len, self._plan_B)))

    def known(self, window: int) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (B, W) of each piece's window of this number, and where they are known."""
        where_BxW, _ = self._at(window)
        return self.tokens_BxT[where_BxW], self._is_known_BxT[where_BxW]

    def take(self, window: int, tokens_BxW: np.ndarray) -> None:
        """Makes known what was drawn in this window. A piece that has no more is as it was."""
        (row_Bx1, column_BxW), is_taken_BxW = self._at(window)
        rows_BxW = np.broadcast_to(row_Bx1, column_BxW.shape)
        taken = rows_BxW[is_taken_BxW], column_BxW[is_taken_BxW]
        self.tokens_BxT[taken] = tokens_BxW[is_taken_BxW]
        self._is_known_BxT[taken] = True

    def _at(self, window: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
        """The place of each piece's window, (rows, columns), and what is taken of it, (B, W)."""
        nothing = Window(0, np.zeros(self._window, bool))
        windows_B = [p[window] if window < len(p) else nothing for p in self._plan_B]
        start_Bx1 = np.array([[w.start] for w in windows_B])
        where = np.arange(len(windows_B))[:, None], start_Bx1 + np.arange(self._window)
        return where, np.stack([w.is_taken_W for w in windows_B])


def num_windows(length: int, window: int, overlap: int) -> int:
    """The number of windows of a piece of which nothing is known."""
    return 1 + max(0, -(-(length - window) // (window - overlap)))
