"""Probabilities of a reverse step as the paper writes them, to compare our laws with.

Source: Lou, Meng & Ermon (2024), arXiv 2310.16834. Ours (`JumpLaw`) says the same of a step without
an array of probabilities, and with no negative one. Letters: B batch, L length, V vocabulary.
"""

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.graph import Absorbing, Graph


def reverse_rate(graph: Graph, x_BxL: jax.Array, score_BxLxV: jax.Array) -> jax.Array:
    """Row x of the reverse rates (eq. 3) over dsigma, (B, L, V); rows sum to zero."""
    if isinstance(graph, Absorbing):
        masked_BxLx1 = (x_BxL == graph.mask_id)[..., None]
        rate_BxLxV = jnp.where(masked_BxLx1, score_BxLxV, 0.0)
    else:
        rate_BxLxV = score_BxLxV / graph.vocab_size
    here_BxLxV = jax.nn.one_hot(x_BxL, graph.vocab_size, dtype=bool)
    others_BxLxV = jnp.where(here_BxLxV, 0.0, rate_BxLxV)
    return jnp.where(here_BxLxV, -others_BxLxV.sum(-1, keepdims=True), others_BxLxV)


def staggered_score(graph: Graph, score_BxLxV: jax.Array, dsigma_B: jax.Array) -> jax.Array:
    """exp(-dsigma Q) s, (B, L, V): the ratio p_{sigma - dsigma}(y) / p_sigma(x) (eq. 19)."""
    grown_BxLxV = jnp.exp(dsigma_B)[:, None, None] * score_BxLxV
    growth_Bx1x1 = jnp.expm1(dsigma_B)[:, None, None]
    if isinstance(graph, Absorbing):
        is_mask_1x1xV = (jnp.arange(graph.vocab_size) == graph.mask_id)[None, None]
        from_codes_BxLx1 = growth_Bx1x1 * score_BxLxV.sum(-1, keepdims=True)
        return grown_BxLxV - jnp.where(is_mask_1x1xV, from_codes_BxLx1, 0.0)
    return grown_BxLxV - growth_Bx1x1 * score_BxLxV.mean(-1, keepdims=True)


def transp_transition(graph: Graph, x_BxL: jax.Array, dsigma_B: jax.Array) -> jax.Array:
    """exp(dsigma Q)(x, y), (B, L, V): the probability with which each y turns into the token x."""
    here_BxLxV = jax.nn.one_hot(x_BxL, graph.vocab_size)
    stay_Bx1x1 = jnp.exp(-dsigma_B)[:, None, None]
    if isinstance(graph, Absorbing):
        masked_BxLx1 = (x_BxL == graph.mask_id)[..., None]
        return stay_Bx1x1 * here_BxLxV + jnp.where(masked_BxLx1, 1 - stay_Bx1x1, 0.0)
    redrawn_Bx1x1 = -jnp.expm1(-dsigma_B)[:, None, None] / graph.vocab_size
    return stay_Bx1x1 * here_BxLxV + redrawn_Bx1x1


def euler_probs(
    graph: Graph, score_BxLxV: jax.Array, x_BxL: jax.Array, dsigma_B: jax.Array, dt: jax.Array
) -> jax.Array:
    """Identity + dt dsigma reverse rate (eq. 17), (B, L, V); not clamped: may be negative."""
    rate_BxLxV = (dt * dsigma_B)[:, None, None] * reverse_rate(graph, x_BxL, score_BxLxV)
    return jax.nn.one_hot(x_BxL, graph.vocab_size) + rate_BxLxV


def analytic_probs(
    graph: Graph, score_BxLxV: jax.Array, x_BxL: jax.Array, dsigma_B: jax.Array
) -> jax.Array:
    """Posterior of a step that removes the noise dsigma (eq. 19), (B, L, V), unnormalised."""
    transition_BxLxV = transp_transition(graph, x_BxL, dsigma_B)
    return staggered_score(graph, score_BxLxV, dsigma_B) * transition_BxLxV


def denoise_probs(
    graph: Graph, score_BxLxV: jax.Array, x_BxL: jax.Array, sigma_B: jax.Array
) -> jax.Array:
    """Posterior of the data (eq. 18), (B, L, codes), unnormalised: no entry for a mask."""
    return analytic_probs(graph, score_BxLxV, x_BxL, sigma_B)[..., : graph.num_codes]
