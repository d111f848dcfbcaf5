"""Means per token over the tracks of a token dataset, with intervals that count artists.

Tracks of one artist are alike, so they are not independent draws of music: artists are, and tracks
whose artist is unknown. N measurements (tracks or windows), G artists.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

CONFIDENCE = 0.95
MIN_EQUAL_ARTISTS = 1.5  # below, nearly all is one artist's, and t is beyond 100


@dataclass(frozen=True)
class Estimate:
    """A mean per token and its 95% interval, mean ± half_width.

    half_width: None where artists are too few to tell. num_artists: G, a track whose artist is
    unknown as one.
    """

    mean: float
    half_width: float | None
    num_artists: int

    def as_json(self) -> dict:
        """{mean, interval_95_by_artist: [low, high] | null, num_artists}."""
        interval = None
        if self.half_width is not None:
            interval = [self.mean - self.half_width, self.mean + self.half_width]
        return {
            "mean": self.mean,
            "interval_95_by_artist": interval,
            "num_artists": self.num_artists,
        }

    @staticmethod
    def from_json(fields: dict) -> "Estimate":
        """The inverse of `as_json`."""
        interval = fields["interval_95_by_artist"]
        half_width = None if interval is None else (interval[1] - interval[0]) / 2
        return Estimate(fields["mean"], half_width, fields["num_artists"])

    def text(self, mean: str = ".3g", half_width: str = ".2g") -> str:
        """The figure for people, mean ± half_width, each in a format of Python's."""
        text = format(self.mean, mean)
        if self.half_width is not None:
            text += f" ± {format(self.half_width, half_width)}"
        return text


def interval_name(num_artists: int) -> str:
    """Words for people: what the interval counts, and how many of them."""
    return f"95% interval, by artist (G = {num_artists:,})"


def artist_numbers(artists: Sequence[str | None]) -> np.ndarray:
    """A number for each artist, (N,) int; an unknown one is another each time."""
    numbers: dict[object, int] = {}
    return np.array(
        [
            numbers.setdefault(i if artist is None else artist, len(numbers))
            for i, artist in enumerate(artists)
        ],
        np.int64,
    )


def per_token(cost_N: np.ndarray, tokens_N: np.ndarray, artist_N: np.ndarray) -> Estimate:
    """Σ cost / Σ tokens, with the interval of a ratio between artists drawn at random.

    The linearised variance of a ratio (Cochran 1977, "Sampling techniques", §6) from the residuals
    r = cost − mean·tokens of each artist, with the leverage h, his share of the tokens:
    Σ r² / (1 − h) over (Σ tokens)². It is Bell & McCaffrey's (2002) for clusters, and for
    equal artists G/(G − 1) times the plain one. The interval is Student's t times its root, with as
    many degrees as equal artists would be worth these (Kish 1965), 1 / Σ h², less one: G − 1 where
    they are equal. By G − 1 alone one artist with most of the tokens would go unnoticed.

    cost_N, tokens_N: of each measurement; artist_N: its artist's number.
    """
    counted_N = np.asarray(tokens_N) > 0  # what has no tokens tells of no artist
    _, artist_n = np.unique(np.asarray(artist_N)[counted_N], return_inverse=True)
    cost_G = np.bincount(artist_n, np.asarray(cost_N, np.float64)[counted_N])
    tokens_G = np.bincount(artist_n, np.asarray(tokens_N, np.float64)[counted_N])
    mean = float(cost_G.sum() / tokens_G.sum())
    share_G = tokens_G / tokens_G.sum()
    equal_artists = 1 / np.square(share_G).sum()
    if len(cost_G) < 2 or equal_artists < MIN_EQUAL_ARTISTS:
        return Estimate(mean, None, len(cost_G))
    squares_G = np.square(cost_G - mean * tokens_G) / (1 - share_G)
    error = np.sqrt(squares_G.sum()) / tokens_G.sum()
    student = stdtrit(equal_artists - 1, 0.5 + CONFIDENCE / 2)
    return Estimate(mean, float(student * error), len(cost_G))


def mean_by_artist(value_N: np.ndarray, artist_N: np.ndarray) -> Estimate:
    """The mean of measurements that all count alike, as `per_token` of a token each."""
    return per_token(value_N, np.ones(len(value_N)), artist_N)
