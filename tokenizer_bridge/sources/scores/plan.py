"""The performances of a corpus: even in instruments, keys and tempi, no genre in excess."""

from collections.abc import Iterator, Sequence

import numpy as np

from tokenizer_bridge.sources.scores.performance import (
    INSTRUMENTS,
    LEAD_S,
    PACES,
    TEMPI,
    Performance,
    perform,
)
from tokenizer_bridge.sources.scores.score import Score

_PLANNING = 0  # key of the random numbers of plans, beside the performances'


def plan(scores: Sequence[Score], hours: float, seed: int) -> list[Performance]:
    """Performances of `hours` hours, counted without what rings on after their last notes.

    A genre's share of time is as the square root of its scores' number. Within a genre all scores
    come once before any comes again, each time on another instrument; instruments and tempi take
    turns. The plan of fewer hours is the beginning of the plan of more.
    """
    genres = {g: [s for s in scores if s.genre == g] for g in PACES}
    genres = {g: members for g, members in genres.items() if members}
    order = list(PACES)
    streams = {
        g: _performances(members, np.random.default_rng([seed, _PLANNING, order.index(g)]))
        for g, members in genres.items()
    }
    seconds = dict.fromkeys(genres, 0.0)
    result, total = [], 0.0
    while streams and total < hours * 3600:
        genre = min(streams, key=lambda g: seconds[g] / len(genres[g]) ** 0.5)
        performance = next(streams[genre], None)
        if performance is None:
            del streams[genre]
            continue
        length = performance.seconds + LEAD_S
        seconds[genre] += length
        total += length
        result.append(performance)
    return result


def _performances(scores: Sequence[Score], rng: np.random.Generator) -> Iterator[Performance]:
    """Performances without end, unless no score fits any instrument."""
    while True:
        found = False
        for turn in range(len(INSTRUMENTS)):
            order = rng.permutation(len(scores))
            for place, index in enumerate(order):
                score = scores[index]
                choice = [i for i in INSTRUMENTS if i.chorales or score.genre != "chorale"]
                # By the score's own number, so that it is on another instrument in each turn.
                instrument = choice[(int(index) + turn) % len(choice)]
                band = (place + turn) % len(TEMPI)
                slow, fast = PACES[score.genre]
                pace = slow + (fast - slow) * (band + rng.random()) / len(TEMPI)
                key = int(rng.integers(0, 12))
                performance = perform(score, instrument, key, pace, TEMPI[band])
                if performance is not None:
                    found = True
                    yield performance
        if not found:
            return
