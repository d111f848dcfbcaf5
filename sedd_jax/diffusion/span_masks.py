"""Masks in spans: neighbours are masked together, each position as likely as ever.

The absorbing process decides at every position, by a uniform of its own, whether a token is masked.
Here the positions of a stretch share their uniform: a token is still masked with its probability
1 - exp(-sigma), but beside tokens that are. The law of a token given those that are left does not
depend on which they are, so the loss has the same minimum; what changes is what a network of finite
size learns best, gaps to be filled in or tokens missing here and there.

Source: AIDD trains with spans (Dror et al. 2025, arXiv 2507.08333), of a geometric length as here,
of 4 tokens in the mean, laid one over the other until a share of all is covered.

Letters: B batch, L length.
"""

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.jump import fold_in_rows, uniform_rows

SHORTEST = 2.0  # tokens in a stretch, in the mean; at most half of a window


def span_uniforms(key_B: jax.Array, length: int, share: float) -> jax.Array:
    """Uniforms in [0, 1), (B, L): in a share of the rows, by chance, equal along stretches.

    Their stretches have geometric lengths, whose mean, a row, is log-uniform from SHORTEST to
    length / 2. The other rows are those of `Absorbing.perturb` with the same keys.
    """
    u_Bx2 = uniform_rows(fold_in_rows(key_B, 1), 2)
    longest = max(length / 2, SHORTEST)
    mean_B = SHORTEST * (longest / SHORTEST) ** u_Bx2[:, 1]
    mean_B = jnp.where(u_Bx2[:, 0] < share, mean_B, 1.0)
    begins_BxL = uniform_rows(fold_in_rows(key_B, 2), length) * mean_B[:, None] < 1
    begin_BxL = jax.lax.cummax(jnp.where(begins_BxL, jnp.arange(length), 0), axis=1)
    return jnp.take_along_axis(uniform_rows(key_B, length), begin_BxL, axis=1)
