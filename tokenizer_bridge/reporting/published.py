"""Figures that were published elsewhere, for context: other reference sets, clips and programs.

kind "fad" is the Fréchet distance. kind "flattened" is the scalar that a common program gives for
PANNs, of vectors whose components are pooled into one number (fad/paper_compat.py): it is no
Fréchet distance of the embeddings, and comparable with nothing but itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NOT_COMPARABLE = "published, not comparable: other reference set and clips"


@dataclass(frozen=True)
class Published:
    """One figure of a paper. reference: None where it is not told."""

    model: str
    embedding: str
    reference: str | None
    kind: str  # "fad" or "flattened"
    value: float


PUBLISHED = (
    Published("MSDM", "vggish", "jamendo", "fad", 6.55),
    Published("SEDD-music", "vggish", "jamendo", "fad", 3.13),
    Published("MG²", "vggish", "nlakh", "fad", 0.99),
    Published("SEDD-music", "vggish", "nlakh", "fad", 1.16),
    Published("SEDD-music", "cnn14", None, "flattened", 0.101e-3),
)


def reference_key(reference: Mapping) -> str:
    """The name of a reference in PUBLISHED: its source, else the name that it was given.

    reference: of a measurement.
    """
    by_source = {"mtg_jamendo": "jamendo", "nlakh": "nlakh"}
    return by_source.get(reference.get("source"), reference["name"].lower())
