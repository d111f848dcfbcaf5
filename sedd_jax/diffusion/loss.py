"""The training objective: diffusion-weighted denoising score entropy (DWDSE).

Source: Lou, Meng & Ermon (2024), arXiv 2310.16834: score entropy (eq. 5), its denoising form
(eq. 7), the weight that makes it a likelihood bound (eq. 9, 10), Algorithm 1 (training).
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.graph import Graph
from sedd_jax.diffusion.noise import MIN_T, Noise

# (x_BxL, sigma_B) -> log_score_BxLxV, fp32, zero at the current token.
LogScoreFn = Callable[[jax.Array, jax.Array], jax.Array]


def stratified_t(key: jax.Array, batch_size: int, eps: float = MIN_T) -> jax.Array:
    """Times t_B, each uniform in [eps, 1], together spread evenly: one in every 1/B of it.

    One uniform draw shifts a regular grid, which lowers the variance of the batch's loss at no cost
    (Kingma et al. 2021, arXiv 2107.00630, appendix I.1). `batch_size` is that of the global batch.
    """
    grid_B = jnp.arange(batch_size) / batch_size
    return eps + (1 - eps) * ((jax.random.uniform(key) + grid_B) % 1)


def training_t(
    key: jax.Array, batch_size: int, high_share: float = 0.0, from_t: float = 0.9
) -> jax.Array:
    """Times t_B of a batch: of a share of its rows in [from_t, 1], of the others in [eps, 1].

    The first round(high_share · B) rows are the share. Each part is stratified over its own rows;
    without a share the times are those of `stratified_t`. Nothing is reweighted: with a share the
    expected loss is a weighted bound, in which t in [from_t, 1] counts (1 - share) / (1 - eps) +
    share / (1 - from_t), and the rest (1 - share) / (1 - eps). The reason: tags decide only what is
    drawn while nearly all is masked, since later the tokens that are there tell the same, and of
    the plain times few are so late.
    """
    num_high = round(high_share * batch_size)
    low_L = stratified_t(key, batch_size - num_high)
    if not num_high:
        return low_L
    high_H = stratified_t(jax.random.fold_in(key, 1), num_high, eps=from_t)
    return jnp.concatenate([high_H, low_L])


def dwdse_loss(
    log_score_fn: LogScoreFn,
    graph: Graph,
    noise: Noise,
    x0_BxL: jax.Array,
    t_B: jax.Array,
    x_BxL: jax.Array,
    counts_BxL: jax.Array | None = None,
) -> jax.Array:
    """The loss of clean sequences x0 seen as x ~ p_{t|0}(. | x0) at times t (Algorithm 1), (B,).

    In nats a sequence: summed over positions, weighted by dsigma; fp32. Its mean over t and x
    estimates the integral of eq. 10. counts_BxL: bool, the positions that it is summed over; all by
    default.
    """
    sigma_B, dsigma_B = noise(t_B)
    entropy_BxL = graph.score_entropy(log_score_fn(x_BxL, sigma_B), sigma_B, x_BxL, x0_BxL)
    if counts_BxL is not None:
        entropy_BxL = jnp.where(counts_BxL, entropy_BxL, 0.0)
    return dsigma_B * entropy_BxL.sum(-1)
