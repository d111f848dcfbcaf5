"""The sum over the vocabulary that the loss of code means is made of, with a gradient of its own.

Letters: B batch, L length, V vocabulary (the codes).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class MeanSums(NamedTuple):
    """With p a softmax over the codes and b = 1 + excess p: what they are at some of the codes."""

    log_raised_sum_BxL: jax.Array  # sum over all codes y of log b_y
    log_p_x_BxL: jax.Array  # log p of the token x
    log_p_x0_BxL: jax.Array  # and of x0


@jax.custom_vjp
def mean_sums(
    logits_BxLxV: jax.Array, x_BxL: jax.Array, x0_BxL: jax.Array, excess_B: jax.Array
) -> MeanSums:
    """The sums of a softmax of the logits, (B, L) each.

    It has its own gradient for the reason that `score_sums` has one: exponentials are computed
    again in the backward pass, so that logits and their gradient are the only (B, L, V) arrays.
    Differentiable in the logits alone.
    """
    return _forward(logits_BxLxV, x_BxL, x0_BxL, excess_B)[0]


def _forward(logits_BxLxV, x_BxL, x0_BxL, excess_B):
    log_sum_BxL = jax.nn.logsumexp(logits_BxLxV, axis=-1)
    raised_BxLxV = excess_B[:, None, None] * jnp.exp(logits_BxLxV - log_sum_BxL[..., None])
    log_p_x_BxL, log_p_x0_BxL = (
        jnp.take_along_axis(logits_BxLxV, code_BxL[..., None], -1)[..., 0] - log_sum_BxL
        for code_BxL in (x_BxL, x0_BxL)
    )
    sums = MeanSums(jnp.log1p(raised_BxLxV).sum(-1), log_p_x_BxL, log_p_x0_BxL)
    share_BxL = (raised_BxLxV / (1 + raised_BxLxV)).sum(-1)
    return sums, (logits_BxLxV, log_sum_BxL, share_BxL, x_BxL, x0_BxL, excess_B)


def _backward(kept, gradient: MeanSums):
    logits_BxLxV, log_sum_BxL, share_BxL, x_BxL, x0_BxL, excess_B = kept
    of_raised_BxL, of_x_BxL, of_x0_BxL = gradient
    p_BxLxV = jnp.exp(logits_BxLxV - log_sum_BxL[..., None])
    raised_BxLxV = excess_B[:, None, None] * p_BxLxV
    result_BxLxV = of_raised_BxL[..., None] * (raised_BxLxV / (1 + raised_BxLxV))
    result_BxLxV -= (of_raised_BxL * share_BxL + of_x_BxL + of_x0_BxL)[..., None] * p_BxLxV
    code_V = jnp.arange(logits_BxLxV.shape[-1])[None, None]
    for code_BxL, of_code_BxL in ((x_BxL, of_x_BxL), (x0_BxL, of_x0_BxL)):
        is_code_BxLxV = code_V == code_BxL[..., None]
        result_BxLxV += jnp.where(is_code_BxLxV, of_code_BxL[..., None], 0.0)
    return result_BxLxV, None, None, None


mean_sums.defvjp(_forward, _backward)
