"""Changes of a song, as the command `launch.edit` and the page make them: what stays of it.

Each has `mode`, the command's name for it; `value`, as JSON has it; `argument`, as it is typed;
`is_scattered`, whether tokens are kept here and there, so that no stretch of a recording stays; and
`edit`, of the tokens (T,) of a song, which raises UserError where it makes no sense.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sedd_jax.sampling import editing
from sedd_jax.sampling.editing import Edit


@dataclass(frozen=True)
class Continue:
    """All of it, and so many seconds more."""

    seconds: float
    mode: ClassVar[str] = "continue_s"
    is_scattered: ClassVar[bool] = False

    @property
    def value(self) -> float:
        return self.seconds

    @property
    def argument(self) -> str:
        return f"--continue_s={self.seconds!r}"

    def edit(self, tokens_T: np.ndarray, token_rate: float, num_samples: int, seed: int) -> Edit:
        return editing.continued(tokens_T, editing.num_tokens(self.seconds, token_rate))


@dataclass(frozen=True)
class Replace:
    """All of it but for stretches (start, stop) in seconds; None for its own start or end."""

    stretches: Sequence[tuple[float | None, float | None]]
    mode: ClassVar[str] = "replace"
    is_scattered: ClassVar[bool] = False

    @property
    def value(self) -> list[list[float | None]]:
        return [list(stretch) for stretch in self.stretches]

    @property
    def argument(self) -> str:
        ends = [["" if end is None else repr(end) for end in stretch] for stretch in self.stretches]
        return f"--replace={','.join(map(':'.join, ends))}"

    def edit(self, tokens_T: np.ndarray, token_rate: float, num_samples: int, seed: int) -> Edit:
        end_s = len(tokens_T) / token_rate
        stretches = [(a or 0.0, end_s if b is None else b) for a, b in self.stretches]
        return editing.replaced(
            tokens_T, editing.token_stretches(stretches, token_rate, len(tokens_T))
        )


@dataclass(frozen=True)
class Vary:
    """More like it. keep: the share of tokens that stay, at random, others for each sample."""

    keep: float
    mode: ClassVar[str] = "vary"
    is_scattered: ClassVar[bool] = True

    @property
    def value(self) -> float:
        return self.keep

    @property
    def argument(self) -> str:
        return f"--vary={self.keep!r}"

    def edit(self, tokens_T: np.ndarray, token_rate: float, num_samples: int, seed: int) -> Edit:
        return editing.varied(tokens_T, self.keep, num_samples, seed)


@dataclass(frozen=True)
class KeepEvery:
    """One token in so many, from the first on."""

    every: int
    mode: ClassVar[str] = "keep_every"
    is_scattered: ClassVar[bool] = True

    @property
    def value(self) -> int:
        return self.every

    @property
    def argument(self) -> str:
        return f"--keep_every={self.every}"

    def edit(self, tokens_T: np.ndarray, token_rate: float, num_samples: int, seed: int) -> Edit:
        return editing.thinned(tokens_T, self.every)


Change = Continue | Replace | Vary | KeepEvery
BY_MODE: dict[str, type[Change]] = {
    change.mode: change for change in (Continue, Replace, Vary, KeepEvery)
}
