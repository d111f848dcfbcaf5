"""The amount of training music that a piece repeats, in tokens and notes, for sets of pieces."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tokenizer_bridge.notes.copies import Shared, longest_shared
from tokenizer_bridge.notes.melody import NUM_SHAPES, in_notes, shapes
from tokenizer_bridge.notes.note_list import Notes
from tokenizer_bridge.token_dataset.records import TokenDataset

_LEAST_TOKENS = 8  # a shorter stretch is everywhere, and looking for it is slow
_EXAMPLES = 3

NamedCodes = Sequence[tuple[str, np.ndarray]]  # (id, codes (L,)) of each piece
NamedNotes = Sequence[tuple[str, Notes]]


def token_sharing(
    sets: Mapping[str, NamedCodes], training: TokenDataset, split: str
) -> dict[str, dict[str, Any]]:
    """The longest stretch that a piece of each set shares with a split of the training data.

    `tokens`: of tokens. `changes`: of codes that follow each other, however long each is held,
    since a held note or silence makes long stretches that are no copies.
    """
    size, ids = training.codec["codebook_size"], []

    def tracks(change: bool) -> Iterable[np.ndarray]:
        for record in training.records(split):
            if not change:
                ids.append(record.id)
            yield _changes(record.tokens) if change else record.tokens

    sequences = {name: [codes_L for _, codes_L in named] for name, named in sets.items()}
    names = {name: [id for id, _ in named] for name, named in sets.items()}
    tokens = _by_set(sequences, tracks(change=False), size, _LEAST_TOKENS)
    sequences = {
        name: [_changes(codes_L) for codes_L in of_set] for name, of_set in sequences.items()
    }
    changes = _by_set(sequences, tracks(change=True), size, at_least=1)
    return {
        kind: {name: _summary(names[name], shared, ids) for name, shared in found.items()}
        for kind, found in (("tokens", tokens), ("changes", changes))
    }


def note_sharing(sets: Mapping[str, NamedNotes], training: NamedNotes) -> dict[str, Any]:
    """The longest stretch of notes of the highest voice, up to transposition and tempo, that a
    piece of each set shares with the training pieces."""
    sequences = {name: [shapes(notes) for _, notes in named] for name, named in sets.items()}
    found = _by_set(sequences, (shapes(notes) for _, notes in training), NUM_SHAPES, at_least=1)
    ids = [id for id, _ in training]
    return {
        name: _summary([id for id, _ in sets[name]], shared, ids, in_notes)
        for name, shared in found.items()
    }


def _changes(codes_L: np.ndarray) -> np.ndarray:
    """The codes without those that equal the one before."""
    return codes_L[np.diff(codes_L.astype(np.int64), prepend=-1) != 0]


def _by_set(
    sets: Mapping[str, Sequence[np.ndarray]],
    training: Iterable[np.ndarray],
    num_symbols: int,
    at_least: int,
) -> dict[str, list[Shared]]:
    """All sets looked up in one pass over the training sequences."""
    everything = [sequence for of_set in sets.values() for sequence in of_set]
    found = iter(longest_shared(everything, training, num_symbols, at_least))
    return {name: [next(found) for _ in of_set] for name, of_set in sets.items()}


def _summary(
    names: Sequence[str], found: Sequence[Shared], others: Sequence[str], size=lambda length: length
) -> dict[str, Any]:
    """The longest shared stretches of one set: their lengths, and where the very longest lie."""
    lengths = [size(shared.length) for shared in found]
    longest = sorted(range(len(found)), key=lambda i: -lengths[i])[:_EXAMPLES]
    return {
        "pieces": len(found),
        "median": float(np.median(lengths)),
        "percentile_90": float(np.percentile(lengths, 90)),
        "longest": max(lengths),
        "examples": [
            {
                "id": names[i],
                "length": lengths[i],
                "start": found[i].start,
                "training": others[found[i].other],
                "training_start": found[i].other_start,
            }
            for i in longest
            if found[i].length
        ],
    }
