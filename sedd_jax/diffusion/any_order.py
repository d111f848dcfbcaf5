"""A bound on -log p of some tokens given others, for absorbing models, in nats.

A model of p(token | tokens that are not masked) draws a sequence in any order, and the mean of
-log p over orders bounds that of the mixture of all orders (Hoogeboom et al. 2022, arXiv
2110.02037, eq. 2 to 4). The absorbing process draws in a uniformly random order, and its exact
score is that conditional times a number (RADD: Ou et al. 2024, arXiv 2406.03736, Theorem 1). So,
with some positions known, the others cost

    E_k E_S (n / k) sum_{i in S} -log p(x_i | all but S),

where k is uniform from 1 to n, the number of tokens charged, and S a uniform set of k of them.
Exact scores give -log p(charged | known) itself.

Letters: B batch, L length, K codes, E network evaluations.
"""

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.jump import fold_in_rows, uniform_rows
from sedd_jax.diffusion.loss import LogScoreFn
from sedd_jax.diffusion.noise import Noise, masked_share_sigma


def any_order_nats(
    log_score_fn: LogScoreFn,
    graph: Absorbing,
    noise: Noise,
    x0_BxL: jax.Array,
    is_charged_BxL: jax.Array,
    is_known_BxL: jax.Array,
    key_B: jax.Array,
    *,
    num_levels: int,
) -> jax.Array:
    """Unbiased estimates of the cost of the charged tokens given the known ones, (B,) nats.

    Args:
      x0_BxL: codes; those of positions that are neither charged nor known do not matter: there the
        model sees the mask.
      is_charged_BxL, is_known_BxL: bool, nowhere both.
      num_levels: network evaluations; their k are stratified over 1 … n. A row without a charged
        token costs 0.
    """
    length = x0_BxL.shape[1]
    num_B = is_charged_BxL.sum(-1)

    def measure(_, level):
        u_B = uniform_rows(fold_in_rows(key_B, 2 * level))
        k_B = 1 + jnp.floor(num_B * (level + u_B) / num_levels).astype(jnp.int32)
        k_B = jnp.minimum(k_B, num_B)  # u may round up to 1
        order_BxL = jnp.where(
            is_charged_BxL, uniform_rows(fold_in_rows(key_B, 2 * level + 1), length), jnp.inf
        )
        rank_BxL = order_BxL.argsort(-1).argsort(-1)
        is_hidden_BxL = is_charged_BxL & (rank_BxL < k_B[:, None])
        is_seen_BxL = is_known_BxL | (is_charged_BxL & ~is_hidden_BxL)
        x_BxL = jnp.where(is_seen_BxL, x0_BxL, graph.mask_id)
        sigma_B = masked_share_sigma(noise, 1 - is_seen_BxL.mean(-1))
        log_score_BxLxK = log_score_fn(x_BxL, sigma_B)[..., : graph.num_codes]
        code_BxLx1 = jnp.where(is_hidden_BxL, x0_BxL, 0)[..., None]
        log_p_BxL = jnp.take_along_axis(log_score_BxLxK, code_BxLx1, axis=-1)[..., 0]
        log_p_BxL -= jax.nn.logsumexp(log_score_BxLxK, axis=-1)
        nats_B = -jnp.where(is_hidden_BxL, log_p_BxL, 0.0).sum(-1)
        return None, nats_B * num_B / jnp.maximum(k_B, 1)

    _, nats_ExB = jax.lax.scan(measure, None, jnp.arange(num_levels))
    return nats_ExB.mean(0)
