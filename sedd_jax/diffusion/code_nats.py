"""The cross-entropy of codes under a softmax, with a gradient of its own.

Letters: B batch, L length, V vocabulary (codes, and the mask behind them).
"""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def weighted_code_nats(
    mask_id: int, logits_BxLxV: jax.Array, x0_BxL: jax.Array, weight_BxL: jax.Array
) -> jax.Array:
    """weight · −log p(x0), (B, L) nats; p: the softmax of the logits over all codes but the mask.

    It has its own gradient for the reason that `score_sums` has one: exponentials are computed
    again in the backward pass, from the log of their sum, and no scatter undoes the gather, so that
    logits and their gradient are the only (B, L, V) arrays. A log-softmax of the codes, cut out and
    differentiated automatically, takes four. Differentiable in the logits alone.
    """
    return _forward(mask_id, logits_BxLxV, x0_BxL, weight_BxL)[0]


def log_sum_codes(mask_id: int, logits_BxLxV: jax.Array) -> jax.Array:
    """log sum exp of the logits of all codes, (B, L)."""
    logits_BxLxV = logits_BxLxV + _minus_infinity_at(mask_id, logits_BxLxV)
    top_BxL = jax.lax.stop_gradient(logits_BxLxV.max(-1))
    return top_BxL + jnp.log(jnp.exp(logits_BxLxV - top_BxL[..., None]).sum(-1))


def _forward(mask_id, logits_BxLxV, x0_BxL, weight_BxL):
    log_sum_BxL = log_sum_codes(mask_id, logits_BxLxV)
    logit_x0_BxL = jnp.take_along_axis(logits_BxLxV, x0_BxL[..., None], -1)[..., 0]
    kept = (logits_BxLxV, log_sum_BxL, x0_BxL, weight_BxL)
    return weight_BxL * (log_sum_BxL - logit_x0_BxL), kept


def _backward(mask_id, kept, gradient_BxL):
    logits_BxLxV, log_sum_BxL, x0_BxL, weight_BxL = kept
    scale_BxLx1 = (gradient_BxL * weight_BxL)[..., None]
    no_mask_1x1xV = _minus_infinity_at(mask_id, logits_BxLxV)
    p_BxLxV = jnp.exp(logits_BxLxV + no_mask_1x1xV - log_sum_BxL[..., None])
    is_x0_BxLxV = jnp.arange(logits_BxLxV.shape[-1])[None, None] == x0_BxL[..., None]
    return scale_BxLx1 * p_BxLxV - jnp.where(is_x0_BxLxV, scale_BxLx1, 0.0), None, None


weighted_code_nats.defvjp(_forward, _backward)


def _minus_infinity_at(mask_id: int, logits_BxLxV: jax.Array) -> jax.Array:
    """0 for a code and -inf for the mask, (1, 1, V); added, for the reason in score_sums.py."""
    return jnp.where(jnp.arange(logits_BxLxV.shape[-1])[None, None] == mask_id, -jnp.inf, 0.0)
