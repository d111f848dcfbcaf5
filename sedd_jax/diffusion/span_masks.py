"""Masks in spans: neighbours are masked together, each position as likely as ever.

The absorbing process decides at every position, by a uniform of its own, whether a token is masked.
Here the positions of a stretch share their uniform: a token is still masked with its probability
1 - exp(-sigma), but beside tokens that are. The law of a token given those that are left does not
depend on which they are, so the same network makes the loss least; what changes is what one of
finite size learns best, gaps to be filled in or tokens missing here and there.

The share of a row that is masked is then far from 1 - exp(-sigma): now and then, half of a window
is at an early time. A row is therefore taken for one of the time that its share belongs to, which
is also what the network is told when it samples given known tokens (known.py). At the time drawn,
its loss would count 1 / t times for all of the stretch, and most of a batch's would come from a few
rows. So the training loss of such rows is no bound.

Source: AIDD trains with spans (Dror et al. 2025, arXiv 2507.08333), of a geometric length as here,
laid one over the other until a share of all is covered.

Letters: B batch, L length.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.jump import fold_in_rows, uniform_rows
from sedd_jax.diffusion.noise import Noise, masked_share_sigma

SHORTEST = 2.0  # the least of the mean lengths of stretches, in tokens


class Masked(NamedTuple):
    """Rows with masks in them, and the times that they are taken to be of."""

    x_BxL: jax.Array
    t_B: jax.Array


def span_masked(
    graph: Absorbing,
    noise: Noise,
    key_B: jax.Array,
    x0_BxL: jax.Array,
    t_B: jax.Array,
    share: float,
) -> Masked:
    """Rows x0 noised to times t, with masks in spans in a share of them, by chance.

    Stretches have geometric lengths, whose mean, a row, is log-uniform from SHORTEST to half of a
    window. The other rows are those of `graph.perturb` with the same keys, at their times.
    """
    length = x0_BxL.shape[1]
    u_Bx2 = uniform_rows(fold_in_rows(key_B, 1), 2)
    has_spans_B = u_Bx2[:, 0] < share
    longest = max(length / 2, SHORTEST)
    mean_B = SHORTEST * (longest / SHORTEST) ** u_Bx2[:, 1]
    mean_B = jnp.where(has_spans_B, mean_B, 1.0)
    begins_BxL = uniform_rows(fold_in_rows(key_B, 2), length) * mean_B[:, None] < 1
    begin_BxL = jax.lax.cummax(jnp.where(begins_BxL, jnp.arange(length), 0), axis=1)
    u_BxL = jnp.take_along_axis(uniform_rows(key_B, length), begin_BxL, axis=1)
    x_BxL = graph.mask(u_BxL, x0_BxL, noise(t_B).sigma)
    share_B = (x_BxL == graph.mask_id).mean(-1)
    own_t_B = noise.time_of(masked_share_sigma(noise, share_B))
    return Masked(x_BxL, jnp.where(has_spans_B, own_t_B, t_B))
