"""Changes of a piece: what stays of it, as the command `launch.edit` has them.

Each has `mode`, the command's name for it; `argument`, as it is typed; `is_scattered`, whether
tokens are kept here and there, so that no stretch of a recording stays; `title`, of what comes of
it; and `edit`, of the tokens (T,) of a song, which raises UserError where it makes no sense.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from launch.playing.wishes import NUM_PIECES
from sedd_jax.sampling import editing
from sedd_jax.sampling.editing import Edit


@dataclass(frozen=True)
class Vary:
    """More like it. keep: the share of tokens that stay, at random, others for each new piece."""

    keep: float
    mode: ClassVar[str] = "vary"
    is_scattered: ClassVar[bool] = True

    @property
    def argument(self) -> str:
        return f"--vary={self.keep!r}"

    def title(self, song: str) -> str:
        return f"More like {song}"

    def edit(self, tokens_T: np.ndarray, token_rate: float, seed: int) -> Edit:
        return editing.varied(tokens_T, self.keep, NUM_PIECES, seed)


@dataclass(frozen=True)
class GoOn:
    """All of it, and so many seconds more."""

    seconds: float
    mode: ClassVar[str] = "continue_s"
    is_scattered: ClassVar[bool] = False

    @property
    def argument(self) -> str:
        return f"--continue_s={self.seconds!r}"

    def title(self, song: str) -> str:
        return f"Going on with {song}"

    def edit(self, tokens_T: np.ndarray, token_rate: float, seed: int) -> Edit:
        return editing.continued(tokens_T, editing.num_tokens(self.seconds, token_rate))


@dataclass(frozen=True)
class Replace:
    """All of it but for the stretch from `start` to `stop`, in seconds."""

    start: float
    stop: float
    mode: ClassVar[str] = "replace"
    is_scattered: ClassVar[bool] = False

    @property
    def argument(self) -> str:
        return f"--replace={self.start!r}:{self.stop!r}"

    def title(self, song: str) -> str:
        return f"{self.start:.1f} to {self.stop:.1f} s of {song} anew"

    def edit(self, tokens_T: np.ndarray, token_rate: float, seed: int) -> Edit:
        stretch = (self.start, self.stop)
        found = editing.token_stretches([stretch], token_rate, len(tokens_T))
        return editing.replaced(tokens_T, found)


Change = Vary | GoOn | Replace
