"""The share of pieces in which a judge hears what was asked for, with 95% intervals.

N pieces, M wishes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import stdtrit

from tokenizer_bridge.fad.units import by_artist, effective_files

_LEVEL = 0.975


@dataclass(frozen=True)
class Share:
    """A share of right answers, its 95% interval and the number of pieces."""

    value: float
    low: float
    high: float
    num_pieces: int

    def as_json(self) -> dict[str, Any]:
        """{value, interval_95: [low, high], num_pieces}."""
        return {
            "value": self.value,
            "interval_95": [self.low, self.high],
            "num_pieces": self.num_pieces,
        }


def share_right(is_right_N: Sequence[bool], artists: Sequence[str | None]) -> Share:
    """The share, with Wilson's interval (1927) for as many independent pieces as these are worth.

    Pieces of one artist are alike: see `effective_files`. Where all are right or all wrong, which
    shows no difference between artists, each artist counts once. Raises ValueError for no pieces.
    """
    if not len(is_right_N):
        raise ValueError("no pieces")
    right_N = np.asarray(is_right_N, np.float64)
    value, count = float(right_N.mean()), len(right_N)
    units = by_artist([np.array([[right]]) for right in right_N], artists)
    worth = effective_files(units) if 0 < value < 1 else len(units)
    normal = float(stdtrit(np.inf, _LEVEL))
    squared = normal**2 / worth
    centre = (value + squared / 2) / (1 + squared)
    half = normal * np.sqrt(value * (1 - value) / worth + squared / (4 * worth)) / (1 + squared)
    # At the ends the interval is closed there, but for rounding.
    low = 0.0 if value == 0 else float(centre - half)
    high = 1.0 if value == 1 else float(centre + half)
    return Share(value, low, high, count)


def share_by_chance(heard_N: Sequence[str | None], asked_M: Sequence[str]) -> Share:
    """The share that pieces which were told nothing would have right of wishes put to any of them.

    The mean over all pairs of a piece and a wish; the interval is Student's over the pieces, which
    are independent. Raises ValueError for no pieces or no wishes.
    """
    if not len(heard_N) or not len(asked_M):
        raise ValueError("no pieces or no wishes")
    wishes = list(asked_M)
    share_of = {name: wishes.count(name) / len(wishes) for name in set(wishes)}
    right_N = np.array([share_of.get(name, 0.0) for name in heard_N])
    value, count = float(right_N.mean()), len(right_N)
    if count == 1:
        return Share(value, 0.0, 1.0, count)
    half = float(stdtrit(count - 1, _LEVEL) * right_N.std(ddof=1) / np.sqrt(count))
    return Share(value, max(0.0, value - half), min(1.0, value + half), count)
