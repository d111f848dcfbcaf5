"""Wishes: settings of pieces, and tags by category."""

from collections.abc import Mapping
from dataclasses import dataclass

from sedd_jax.conditions import SEPARATOR, category
from sedd_jax.diffusion.choices import SAMPLERS
from sedd_jax.errors import UserError

NUM_PIECES = 4  # of one wish
MOST_SEED = 2**32 - 1
MOST_STEPS = 1024
MOST_GUIDANCE = 20.0
MOST_TEMPERATURE = 5.0


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The settings of NUM_PIECES new pieces. length: tokens of a piece.

    guidance: how much the tags count; without tags it is 1, since there is nothing to count.
    temperature, top_p: how narrow the choice of a token is (sedd_jax/diffusion/draws.py).
    Raises UserError for a number that is out of range.
    """

    length: int
    steps: int
    sampler: str
    seed: int
    tags: tuple[str, ...] = ()
    guidance: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0

    def __post_init__(self):
        if not self.tags:
            object.__setattr__(self, "guidance", 1.0)
        if not 1 <= self.steps <= MOST_STEPS:
            raise UserError(f"{self.steps} steps: from 1 to {MOST_STEPS:,} can be taken")
        if not 0 <= self.seed <= MOST_SEED:
            raise UserError(f"seed {self.seed}: a whole number from 0 to {MOST_SEED:,} is needed")
        if not 0 <= self.guidance <= MOST_GUIDANCE:
            raise UserError(f"guidance {self.guidance:g}: from 0 to {MOST_GUIDANCE:g} can be had")
        if not (0 < self.temperature <= MOST_TEMPERATURE and 0 < self.top_p <= 1):
            raise UserError(
                f"temperature {self.temperature:g} and top-p {self.top_p:g}: above 0, and at most "
                f"{MOST_TEMPERATURE:g} and 1"
            )
        if self.sampler not in SAMPLERS:
            raise UserError(f"there is no sampler {self.sampler!r}")


def by_category(tags: Mapping[str, int]) -> dict[str, list[str]]:
    """Category → its tags' names in order of the alphabet, of `category---name`.

    tags: as `sedd_jax.Model.tags` has them. Tags without a category come last, under "tag".
    """
    names: dict[str, list[str]] = {}
    for tag in sorted(tags):
        if category(tag):
            names.setdefault(category(tag), []).append(tag.partition(SEPARATOR)[2])
    if bare := [tag for tag in sorted(tags) if not category(tag)]:
        names["tag"] = bare
    return names


def tag_of(category: str, name: str, tags: Mapping[str, int]) -> str:
    """The tag of a category and a name from `by_category`."""
    return tag if (tag := f"{category}{SEPARATOR}{name}") in tags else name
