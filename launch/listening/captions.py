"""A sentence on how a piece was drawn; its tags, as people write them."""

from collections.abc import Mapping
from typing import Any

_SAMPLERS = {"euler": "Euler", "analytic": "analytic"}
# What the sentence says in words, and what is about the set or the run and not the piece.
_SAID = {"sampler", "steps", "seed", "sample_index", "checkpoint_step"}
_UNSAID = {"checkpoint_fingerprint", "length", "num_samples", "seconds_per_sample", "tags"}


def caption(source: Mapping[str, Any]) -> str:
    """source: what `sample` records of a piece. Settings that have no words of their own follow as
    "name value". Empty when nothing is recorded."""
    drawn = []
    if "steps" in source:
        drawn.append(f"in {source['steps']:,} steps")
    if "sampler" in source:
        name = _SAMPLERS.get(source["sampler"], source["sampler"])
        drawn.append(f"{'of' if drawn else 'by'} the {name} sampler")
    if "checkpoint_step" in source:
        drawn.append(f"from checkpoint {source['checkpoint_step']:,}")
    sentences = []
    piece = f"Piece {source['sample_index']}" if "sample_index" in source else ""
    if "seed" in source:
        piece = f"{piece} of seed {source['seed']}" if piece else f"Seed {source['seed']}"
    if drawn:
        sentences.append(f"{piece or 'Drawn'}{', drawn' if piece else ''} {' '.join(drawn)}.")
    elif piece:
        sentences.append(f"{piece}.")
    others = [
        f"{key.replace('_', ' ')} {value}"
        for key, value in source.items()
        if key not in _SAID | _UNSAID and isinstance(value, str | int | float)
    ]
    if others:
        listed = ", ".join(others)
        sentences.append(f"{listed[0].upper()}{listed[1:]}.")
    return " ".join(sentences)


def tag_label(tag: str) -> str:
    """ "category---name", as data sets have it, is "category: name"."""
    category, _, name = tag.rpartition("---")
    return f"{category}: {name}" if category else tag
