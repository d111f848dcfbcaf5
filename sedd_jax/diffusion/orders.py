"""Samplers that choose which masked positions a step draws: for the absorbing graph.

The score of an absorbing model is p(code | the tokens that are not masked) / expm1(sigma), and
knows the time in its denominator alone (RADD: Ou et al. 2024, arXiv 2406.03736, Theorem 1). So any
position may be drawn at any step from the scores, normalised over the codes. One position a step is
a draw of the model's own law, in whatever order; several at once are drawn as if they were
independent given what is there, and that is the only error. It is the smaller, the less the
positions of a step have to tell each other.

- "spread" draws positions that are far apart: those of the van der Corput sequence (the order of
  bit reversal: 0, 1/2, 1/4, 3/4, 1/8, ...), turned at random by each sample. Halton's order is the
  same for images (arXiv 2503.17076). Exact for one position a step.

Where some tokens are known, order and counts run over the others alone. The network is told the
noise level at which the masked share is the one that it sees, unless `Known` asks for that of the
schedule.

Letters: B rows, L length.
"""

import math

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.jump import ReverseStep, fold_in_rows
from sedd_jax.diffusion.noise import masked_share_sigma
from sedd_jax.diffusion.process import Drawn, Process
from sedd_jax.diffusion.schedule import Steps


def step(
    name: str,
    process: Process,
    steps: Steps,
    key_B: jax.Array,
    x_BxL: jax.Array,
    index: jax.Array | int,
) -> Drawn:
    """x_BxL after step `index`, given x before it, by the sampler called `name`."""
    del name
    known = process.known
    if known is not None:
        x_BxL = jnp.where(known.is_told(process.graph), known.tokens_BxL.astype(jnp.int32), x_BxL)
    is_free_BxL = jnp.ones(x_BxL.shape, bool) if known is None else ~known.is_known_BxL
    is_now_BxL = are_drawn(steps, fold_in_rows(key_B, 2 + steps.num), is_free_BxL, index)
    drawn = process.draw(codes(process, x_BxL, steps.share(index)), fold_in_rows(key_B, 1 + index))
    return drawn._replace(x_BxL=jnp.where(is_now_BxL, drawn.x_BxL, x_BxL))


def are_drawn(
    steps: Steps, key_B: jax.Array, is_free_BxL: jax.Array, index: jax.Array | int
) -> jax.Array:
    """The free positions that step `index` draws, bool (B, L); key_B: of the rows' orders."""
    num_B, rank_BxL = is_free_BxL.sum(-1), spread_ranks(key_B, is_free_BxL)
    first_B, last_B = (num_B - steps.left(num_B, i) for i in (index, index + 1))
    return is_free_BxL & (rank_BxL >= first_B[:, None]) & (rank_BxL < last_B[:, None])


def codes(process: Process, x_BxL: jax.Array, share: jax.Array) -> ReverseStep:
    """The distribution of the code of every masked position given the tokens that are there.

    share: of the unknown tokens still to be drawn, []: the time, to guidance.
    """
    graph, noise, known = process.graph, process.noise, process.known
    share_B = (x_BxL == graph.mask_id).mean(-1)
    if known is not None and known.time == "schedule":
        share_B = jnp.full(x_BxL.shape[0], share)
    sigma_B = masked_share_sigma(noise, share_B)
    law_fn = graph.denoise_law
    return process.reverse_step(x_BxL, sigma_B, share, law_fn, sigma_B, is_posterior=True)


def spread_ranks(key_B: jax.Array, is_free_BxL: jax.Array) -> jax.Array:
    """The place of each free position in the order of "spread", from 0, (B, L) int32.

    The free positions are a circle, cut at a place that is drawn for the row. It is halved, and the
    halves are, until single positions are left: each half is a digit of a position's path, and
    positions are ordered by their paths read backwards. So the first of every half comes before
    the second of any. Positions that are not free come last.
    """
    num_Bx1 = jnp.maximum(is_free_BxL.sum(-1, keepdims=True), 1)
    cut_B = jax.vmap(lambda key, num: jax.random.randint(key, (), 0, num))(key_B, num_Bx1[:, 0])
    place_BxL = (jnp.cumsum(is_free_BxL, -1) - 1 + cut_B[:, None]) % num_Bx1
    size_BxL, path_BxL = jnp.broadcast_to(num_Bx1, place_BxL.shape), jnp.zeros_like(place_BxL)
    depth = math.ceil(math.log2(is_free_BxL.shape[1]))
    for digit in range(depth):
        half_BxL = (size_BxL + 1) // 2
        is_second_BxL = place_BxL >= half_BxL
        place_BxL -= jnp.where(is_second_BxL, half_BxL, 0)
        size_BxL = jnp.where(is_second_BxL, size_BxL - half_BxL, half_BxL)
        path_BxL += is_second_BxL << digit
    order_BxL = jnp.where(is_free_BxL, path_BxL, 2**depth)
    return order_BxL.argsort(-1).argsort(-1).astype(jnp.int32)
