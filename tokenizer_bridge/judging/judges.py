"""Judges: each tells the name of one category that it hears in a piece.

A judge is fitted to real pieces that went through the codec, as generated ones do. Which listener
it relies on, and how, stands in KINDS; to hear a category in another way is an entry there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tokenizer_bridge.judging import logistic
from tokenizer_bridge.judging.hearing import Heard
from tokenizer_bridge.judging.pieces import Piece, names_in
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.intervals import artist_numbers

LEAST_PIECES = 8  # that a name needs to be learnt


@dataclass(frozen=True)
class Judge:
    """A judge of a category. names: those it can answer; judge: heard arrays of pieces → names.

    listener: by whose ears; facts: JSON values on how it came about.
    """

    category: str
    names: tuple[str, ...]
    listener: str
    judge: Callable[[Sequence[np.ndarray]], list[str | None]]
    facts: dict[str, Any]


# (category, names of real pieces, what its listener heard in them, their artists' numbers) → Judge
Maker = Callable[[str, Sequence[str], Sequence[np.ndarray], np.ndarray], Judge]


def timbre_judge(
    category: str, names: Sequence[str], heard: Sequence[np.ndarray], artist_N: np.ndarray
) -> Judge:
    """Logistic regression of musicnn's vectors: their mean over the windows of a piece."""
    classifier = logistic.fit(_mean_vectors(heard), names, artist_N)

    def judge(heard: Sequence[np.ndarray]) -> list[str | None]:
        return [*classifier.predict(_mean_vectors(heard))]

    facts = {"penalty": classifier.penalty, "num_pieces": len(names)}
    return Judge(category, classifier.names, "musicnn", judge, facts)


def _mean_vectors(heard: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([vectors_WxD.mean(0) for vectors_WxD in heard])


# Category → (the listener that its judge needs, how it is made); "" for all others.
KINDS: dict[str, tuple[str, Maker]] = {"": ("musicnn", timbre_judge)}


def kind_of(category: str) -> tuple[str, Maker]:
    """The listener of a category's judge, and its maker."""
    return KINDS.get(category, KINDS[""])


def make_judge(category: str, pieces: Sequence[Piece], heard: Heard) -> Judge:
    """The judge of a category, made from real pieces and what was heard in them.

    Raises UserError when fewer than two names have LEAST_PIECES pieces, or all are one artist's.
    """
    names = names_in(pieces, category, LEAST_PIECES)
    if len(names) < 2:
        raise UserError(
            f"category {category}: fewer than two of its names have {LEAST_PIECES} real pieces"
        )
    used = [i for i, piece in enumerate(pieces) if piece.name_of(category) in names]
    artist_N = artist_numbers([pieces[i].artist for i in used])
    if len(np.unique(artist_N)) < 2:
        raise UserError(f"category {category}: all real pieces are of one artist")
    listener, make = kind_of(category)
    own_names = [str(pieces[i].name_of(category)) for i in used]
    return make(category, own_names, [heard[listener][i] for i in used], artist_N)
