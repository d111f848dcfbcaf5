"""Songs edited: gone on with, mended, varied. Some of their tokens are kept, the others drawn anew.

An edit is a choice of known positions (sedd_jax/diffusion/known.py) and nothing else: what stands
here says which. Edits longer than a window are drawn in several (windows.py), each given what is
known around it.

Letters: N samples, T tokens of the edited song.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sedd_jax.diffusion.known import Known
from sedd_jax.errors import UserError
from sedd_jax.sampling.known import make_known
from sedd_jax.sampling.settings import MOST


@dataclasses.dataclass(frozen=True, eq=False)
class Edit:
    """A song of which some tokens are kept, and the others are to be drawn.

    tokens_T: (T,) uint16; those that are not kept do not matter. is_kept_NxT: bool, a row for each
    sample, or one for all.
    """

    tokens_T: np.ndarray
    is_kept_NxT: np.ndarray

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """The stretches (start, stop) where any sample has new tokens, ascending."""
        is_new_T = ~self.is_kept_NxT.all(axis=0)
        edges = np.flatnonzero(np.diff(np.pad(is_new_T, 1)))
        return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]

    def known(self, num_samples: int, num_codes: int) -> Known:
        """The known positions of the samples; num_codes: of the codec. Raises UserError."""
        is_kept_NxT = np.broadcast_to(self.is_kept_NxT, (num_samples, len(self.tokens_T)))
        return make_known(self.tokens_T, is_kept_NxT, num_samples, num_codes)


def continued(tokens_T: np.ndarray, num_new: int) -> Edit:
    """All of a song, and `num_new` tokens, at least one, after it."""
    _require(num_new >= 1, "a continuation must have at least one token")
    is_kept_T = np.arange(len(tokens_T) + num_new) < len(tokens_T)
    return Edit(np.pad(tokens_T, (0, num_new)), is_kept_T[None])


def replaced(tokens_T: np.ndarray, stretches: Sequence[tuple[int, int]]) -> Edit:
    """A song with new tokens in some stretches (start, stop), as `token_stretches` gives them."""
    is_kept_T = np.ones(len(tokens_T), bool)
    for start, stop in stretches:
        is_kept_T[start:stop] = False
    return Edit(tokens_T, is_kept_T[None])


def varied(tokens_T: np.ndarray, share: float, num_samples: int, seed: int) -> Edit:
    """A song of which each token is kept with probability `share`, 0 ≤ share < 1.

    Which those are depends, for sample i, on (seed, i) alone.
    """
    _require(0 <= share < 1, f"the share of tokens to keep is {share:g}: it must be in [0, 1)")
    is_kept_NxT = np.zeros((num_samples, len(tokens_T)), bool)
    for i in range(num_samples):
        is_kept_NxT[i] = np.random.default_rng((seed, i)).random(len(tokens_T)) < share
    return Edit(tokens_T, is_kept_NxT)


def thinned(tokens_T: np.ndarray, every: int) -> Edit:
    """A song of which one token in `every`, at least 2, is kept, from the first on."""
    _require(2 <= every <= MOST, f"one token in {every} cannot be kept: one in 2 to {MOST:,} can")
    return Edit(tokens_T, (np.arange(len(tokens_T)) % every == 0)[None])


def num_tokens(seconds: float, token_rate: float) -> int:
    """The tokens of so many seconds, more than 0; at least one. Raises UserError."""
    _require(
        math.isfinite(seconds) and seconds > 0, f"{seconds:g} s is no length: more than 0 is needed"
    )
    _require(seconds * token_rate <= MOST, f"{seconds:g} s is too long")
    return max(1, round(seconds * token_rate))


def token_stretches(
    stretches_s: Sequence[tuple[float, float]], token_rate: float, num_tokens: int
) -> list[tuple[int, int]]:
    """The tokens (start, stop) that stretches of a song reach into, ascending.

    stretches_s: (start, stop) in seconds, in any order. num_tokens: of the song.

    Raises UserError for no stretch, or one that is empty, reversed, beyond the song or overlaps.
    """
    _require(len(stretches_s) > 0, "there is no stretch to replace")
    end_s = num_tokens / token_rate
    found: list[tuple[int, int]] = []
    before = ""
    try:
        pairs_s = sorted((float(start_s), float(stop_s)) for start_s, stop_s in stretches_s)
    except (TypeError, ValueError) as error:
        raise UserError(
            f"stretches are pairs (start, stop) in seconds, not {stretches_s}"
        ) from error
    for start_s, stop_s in pairs_s:
        name = f"{start_s:g}:{stop_s:g}"
        _require(math.isfinite(start_s) and math.isfinite(stop_s), f"{name} s is no stretch")
        _require(
            start_s < end_s,
            f"a stretch from {start_s:g} s on begins after the song's end, {end_s:.2f} s",
        )
        _require(start_s < stop_s, f"the stretch {name} s does not end after it begins")
        _require(start_s >= 0, f"the stretch {name} s begins before the song does")
        # A song's last token may be begun by its last sample: its end is given to the millisecond.
        _require(stop_s <= end_s + 1e-3, f"the stretch {name} s ends after the song, {end_s:.2f} s")
        start = math.floor(start_s * token_rate + 1e-6)
        stop = min(math.ceil(stop_s * token_rate - 1e-6), num_tokens)
        if found and start < found[-1][1]:
            raise UserError(f"the stretches {before} and {name} s overlap, or share a token")
        found.append((start, max(stop, start + 1)))
        before = name
    return found


def token_rate(codec: Mapping[str, Any]) -> float:
    """Tokens per second of a codec, as a model describes it."""
    return codec["sample_rate"] / codec["hop_length"]


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise UserError(message)
