"""Draws narrower than the model: temperature, top-k and top-p of where a position jumps to.

They act on the distribution of the target given that a position jumps. When it jumps stays as it
is: the sum of the scores is kept. Under the uniform graph, where a token may also stay what it is,
"stay" is no target and neither gains nor loses; its share ends what a low temperature has begun.

Letters: B rows, L length, V vocabulary (with the mask, where there is one).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.jump import JumpLaw, ReverseStep


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Draws:
    """The narrowness of draws, of all rows ([]) or of each (B,); None costs and changes nothing.

    temperature: above 0; the target's probabilities are raised to the power 1 / temperature, and
      normalised. top_k: at least 1; then the k most probable targets stay. top_p: above 0; then
      the most probable stay that have at least this share together, as few as do. Targets as
      probable as the least of those stay too.
    """

    temperature: Any = None
    top_k: Any = None
    top_p: Any = None

    def narrow(self, step: ReverseStep) -> ReverseStep:
        """The step with narrower targets, that jumps as often."""
        here_BxLxV = jnp.arange(step.log_score_BxLxV.shape[-1])[None, None] == step.x_BxL[..., None]
        log_weight_BxLxV = step.log_score_BxLxV
        if step.law.floor_BxL is not None:
            weight_BxLxV = jnp.exp(log_weight_BxLxV) - step.law.floor_BxL[..., None]
            log_weight_BxLxV = jnp.log(jnp.maximum(weight_BxLxV, 0.0))
        log_weight_BxLxV = jnp.where(here_BxLxV, -jnp.inf, log_weight_BxLxV)
        log_sum_BxLx1 = _log_sum(log_weight_BxLxV)
        if self.temperature is not None:
            # Counted from the largest, since large numbers would leave no digits to tell them by.
            top_BxLx1 = log_weight_BxLxV.max(-1, keepdims=True)
            top_BxLx1 = jnp.where(jnp.isneginf(top_BxLx1), 0.0, top_BxLx1)
            log_weight_BxLxV = (log_weight_BxLxV - top_BxLx1) / _column(self.temperature)
        if self.top_k is not None or self.top_p is not None:
            log_weight_BxLxV = self._cut(log_weight_BxLxV)
        # Where there is no target at all there is none to be made more probable.
        gain_BxLx1 = log_sum_BxLx1 - _log_sum(log_weight_BxLxV)
        gain_BxLx1 = jnp.where(jnp.isneginf(log_sum_BxLx1), 0.0, gain_BxLx1)
        log_score_BxLxV = jnp.where(here_BxLxV, 0.0, log_weight_BxLxV + gain_BxLx1)
        law = JumpLaw(step.law.stay_BxL, step.law.gain_BxL)
        return ReverseStep.make(step.x_BxL, log_score_BxLxV, law)

    def _cut(self, log_weight_BxLxV: jax.Array) -> jax.Array:
        """Log-weights, -inf for what is not among the most probable."""
        share_BxLxV = jnp.exp(log_weight_BxLxV - log_weight_BxLxV.max(-1, keepdims=True))
        least_BxLx1 = jnp.zeros_like(share_BxLxV[..., :1])
        if self.top_k is not None:
            num_BxLx1 = jnp.broadcast_to(_column(self.top_k), least_BxLx1.shape)
            least_BxLx1 = _largest_cut(share_BxLxV > 0, share_BxLxV, num_BxLx1)
        if self.top_p is not None:
            top_p = _column(self.top_p)
            left_BxLxV = jnp.where(share_BxLxV >= least_BxLx1, share_BxLxV, 0.0)
            mass_BxLx1 = top_p * left_BxLxV.sum(-1, keepdims=True)
            cut_BxLx1 = _largest_cut(left_BxLxV, left_BxLxV, mass_BxLx1)
            # A sum may not change with its last terms: at 1 all of them stay all the same.
            least_BxLx1 = jnp.where(top_p < 1, cut_BxLx1, least_BxLx1)
        return jnp.where(share_BxLxV >= least_BxLx1, log_weight_BxLxV, -jnp.inf)


def _column(value: jax.Array) -> jax.Array:
    """[] or (B,) as (1 or B, 1, 1)."""
    return jnp.reshape(value, (-1, 1, 1)).astype(jnp.float32)


def _log_sum(log_weight_BxLxV: jax.Array) -> jax.Array:
    return jax.nn.logsumexp(log_weight_BxLxV, axis=-1, keepdims=True)


def _largest_cut(value_BxLxV: jax.Array, share_BxLxV: jax.Array, wanted_BxLx1: jax.Array):
    """The largest c at which values of shares >= c sum to what is wanted, (B, L, 1); else 0.

    Shares are in [0, 1], where the bits of a number, read as an integer, are in its order: they are
    found by bisection, in 30 passes instead of a sort.
    """

    def halve(_, bounds):
        low_BxLx1, high_BxLx1 = bounds
        middle_BxLx1 = (low_BxLx1 + high_BxLx1) // 2
        cut_BxLx1 = jax.lax.bitcast_convert_type(middle_BxLx1, jnp.float32)
        sum_BxLx1 = jnp.where(share_BxLxV >= cut_BxLx1, value_BxLxV, 0).sum(-1, keepdims=True)
        is_enough_BxLx1 = sum_BxLx1 >= wanted_BxLx1
        return (
            jnp.where(is_enough_BxLx1, middle_BxLx1, low_BxLx1),
            jnp.where(is_enough_BxLx1, high_BxLx1, middle_BxLx1),
        )

    one = jax.lax.bitcast_convert_type(jnp.float32(1.0), jnp.int32)
    low_BxLx1 = jnp.zeros(wanted_BxLx1.shape, jnp.int32)
    low_BxLx1, _ = jax.lax.fori_loop(0, 30, halve, (low_BxLx1, jnp.full_like(low_BxLx1, one + 1)))
    return jax.lax.bitcast_convert_type(low_BxLx1, jnp.float32)
