"""Judges: each tells the name of one category that it hears in a piece.

A judge is made from real pieces that went through the codec, as generated ones do. What it listens
to, and how it is made, stands in KINDS; to judge a category in another way is an entry there.

N pieces, D features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tokenizer_bridge.judging import logistic
from tokenizer_bridge.judging.hearing import Heard
from tokenizer_bridge.judging.pieces import Piece, names_in
from tokenizer_bridge.notes.keys import MODES, NAMES, Key, find_key
from tokenizer_bridge.notes.note_list import Notes
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.intervals import artist_numbers

LEAST_PIECES = 8  # that a name needs to be learnt
_GAPS_S = 0.08 * 2 ** np.arange(0, 5.01, 0.5)  # edges: from 80 ms to 2.6 s, two an octave


@dataclass(frozen=True)
class Judge:
    """A judge of a category. names: those it may answer; judge: what was heard → a name a piece.

    method: how it judges, in words; facts: JSON values on how it came about.
    """

    category: str
    names: tuple[str, ...]
    method: str
    judge: Callable[[Heard], list[str | None]]
    facts: dict[str, Any] = field(default_factory=dict)


# (category, names of real pieces, what was heard in them, their artists' numbers) → Judge
Maker = Callable[[str, Sequence[str], Heard, np.ndarray], Judge]


def timbre_judge(category: str, names: Sequence[str], heard: Heard, artist_N: np.ndarray) -> Judge:
    """Logistic regression of musicnn's vectors: their mean over the windows of a piece."""
    return _learnt(category, names, heard, artist_N, timbre_features, "musicnn")


def rhythm_judge(category: str, names: Sequence[str], heard: Heard, artist_N: np.ndarray) -> Judge:
    """Logistic regression of transcribed notes: how many, how long, how far apart."""
    return _learnt(category, names, heard, artist_N, rhythm_features, "notes' times")


def key_judge(category: str, names: Sequence[str], heard: Heard, artist_N: np.ndarray) -> Judge:
    """The tonic of the key whose profile fits the transcribed notes best; nothing is learnt."""
    del heard, artist_N
    return _by_key(category, names, NAMES, lambda key: key.tonic)


def mode_judge(category: str, names: Sequence[str], heard: Heard, artist_N: np.ndarray) -> Judge:
    """The mode of that key, major or minor."""
    del heard, artist_N
    return _by_key(category, names, MODES, lambda key: key.mode)


# Category → (the listeners that its judge needs, how it is made); "" for all others.
KINDS: dict[str, tuple[tuple[str, ...], Maker]] = {
    "": (("musicnn",), timbre_judge),
    "key": (("notes",), key_judge),
    "mode": (("notes",), mode_judge),
    "tempo": (("notes",), rhythm_judge),
    "metre": (("notes",), rhythm_judge),
}


def listeners_of(category: str) -> tuple[str, ...]:
    """The listeners that a category's judge needs."""
    return KINDS.get(category, KINDS[""])[0]


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
    own_names = [str(pieces[i].name_of(category)) for i in used]
    listeners, make = KINDS.get(category, KINDS[""])
    judge = make(category, own_names, {k: [heard[k][i] for i in used] for k in listeners}, artist_N)
    if len(judge.names) < 2:
        raise UserError(f"category {category}: its judge knows none of {', '.join(names)}")
    return judge


def timbre_features(heard: Heard) -> np.ndarray:
    """(N, 200)."""
    return np.stack([vectors_WxD.mean(0) for vectors_WxD in heard["musicnn"]])


def rhythm_features(heard: Heard) -> np.ndarray:
    """(N, D): logarithms of the number of onsets and of notes' length, and a histogram of gaps.

    The histogram is of the logarithms of times between an onset and the next but n, n = 1, 2, 4.
    """
    return np.stack([_rhythm(notes_Mx3) for notes_Mx3 in heard["notes"]])


def _rhythm(notes_Mx3: np.ndarray) -> np.ndarray:
    onset_M = np.unique(np.round(notes_Mx3[:, 0], 2))
    histograms = []
    for step in (1, 2, 4):
        counts, _ = np.histogram((onset_M[step:] - onset_M[:-step]) / step, _GAPS_S)
        histograms.append(counts / max(1, counts.sum()))
    length_s = np.median(notes_Mx3[:, 1] - notes_Mx3[:, 0]) if len(notes_Mx3) else 0.0
    return np.array([np.log1p(len(onset_M)), np.log(length_s + 0.01), *np.concatenate(histograms)])


def _learnt(
    category: str,
    names: Sequence[str],
    heard: Heard,
    artist_N: np.ndarray,
    features: Callable[[Heard], np.ndarray],
    method: str,
) -> Judge:
    classifier = logistic.fit(features(heard), names, artist_N)

    def judge(heard: Heard) -> list[str | None]:
        return [*classifier.predict(features(heard))]

    facts = {"penalty": classifier.penalty, "num_pieces": len(names)}
    return Judge(category, classifier.names, f"logistic regression of {method}", judge, facts)


def _by_key(
    category: str, names: Sequence[str], known: Sequence[str], answer: Callable[[Key], str]
) -> Judge:
    def judge(heard: Heard) -> list[str | None]:
        keys = (
            find_key(Notes(start_M, end_M, pitch_M.astype(np.int64)))
            for start_M, end_M, pitch_M in (notes_Mx3.T for notes_Mx3 in heard["notes"])
        )
        return [None if key is None else answer(key) for key in keys]

    shared = tuple(sorted({*names} & {*known}))
    return Judge(category, shared, "key profiles of the notes", judge)
