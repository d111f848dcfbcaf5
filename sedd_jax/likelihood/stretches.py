"""The cost of a stretch in a window given what stands around it, before it, and nothing.

The same tokens are hidden in all three, so that differences are paired ones.

Letters: W windows, L window length, T tracks.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from sedd_jax.errors import UserError
from sedd_jax.likelihood.held_out import SplitWindows
from sedd_jax.likelihood.infilling import infill_nats
from sedd_jax.model import ModelDef
from sedd_jax.state import Params
from tokenizer_bridge.token_dataset.intervals import per_token

# What the model knows: whether the tokens before the stretch, and those behind it.
CONTEXTS = {"around": (True, True), "before": (True, False), "nothing": (False, False)}


def whole_windows(windows: SplitWindows) -> SplitWindows:
    """The windows of one track alone that overlap no other. Raises UserError without any."""
    length = windows.tokens_WxL.shape[1]
    whole_N = np.flatnonzero(windows.new_W == length)
    if not len(whole_N):
        raise UserError(f"no track of the split is as long as a window, {length:,} tokens")
    return windows.take(whole_N)


def stretch_bits(
    run: ModelDef,
    params: Params,
    windows: SplitWindows,
    num_tokens: int,
    *,
    num_levels: int,
    batch_size: int,
    on_windows: Callable[[int], None] = lambda num_windows: None,
) -> dict[str, np.ndarray]:
    """Bounds on the middle `num_tokens` of windows (diffusion/any_order.py): context → bits, (W,).

    Args:
      windows: the model is told their own tags and vectors.
      num_levels: network evaluations a window and context.
      on_windows: called with W after each context.

    Raises UserError for a stretch that leaves nothing of a window, and for a model without a mask.
    """
    length = windows.tokens_WxL.shape[1]
    if num_tokens >= length:
        raise UserError(
            f"a stretch of {num_tokens:,} tokens leaves nothing of a window of {length:,}"
        )
    begin = (length - num_tokens) // 2
    position_L = np.arange(length)
    is_before_L, is_behind_L = position_L < begin, position_L >= begin + num_tokens
    condition_T = run.vocabulary.condition(windows.tags, vectors_B=windows.vectors)
    shape = windows.tokens_WxL.shape
    bits_W = {}
    for context, (before, behind) in CONTEXTS.items():
        nats_W = infill_nats(
            run,
            params,
            windows.tokens_WxL,
            np.broadcast_to(~(is_before_L | is_behind_L), shape),
            np.broadcast_to((is_before_L & before) | (is_behind_L & behind), shape),
            num_levels=num_levels,
            batch_size=batch_size,
            condition_N=jax.tree.map(lambda values_T: values_T[windows.track_W], condition_T),
        )
        bits_W[context] = nats_W / math.log(2)
        on_windows(len(windows))
    return bits_W


def describe(
    windows: SplitWindows, num_tokens: int, seconds: float, bits_W: dict[str, np.ndarray]
) -> dict[str, Any]:
    """The measurement of a stretch for a report: bits per token, and what each context saves."""
    begin = (windows.tokens_WxL.shape[1] - num_tokens) // 2
    is_known_WxL = windows.tokens_WxL[:, begin : begin + num_tokens] < windows.num_codes
    count_W = is_known_WxL.sum(1)

    def estimate(values_W: np.ndarray) -> dict:
        return per_token(values_W, count_W, windows.artist_W).as_json()

    return {
        "seconds": seconds,
        "num_tokens": num_tokens,
        "num_windows": len(windows),
        "bits_per_token": {name: estimate(values_W) for name, values_W in bits_W.items()},
        # Paired: the same windows, the same tokens hidden.
        "saved": {
            name: estimate(bits_W["nothing"] - bits_W[name]) for name in ("around", "before")
        },
    }
