"""Samplers that choose which masked positions a step draws: for the absorbing graph.

The score of an absorbing model is p(code | the tokens that are not masked) / expm1(sigma), and
knows the time in its denominator alone (RADD: Ou et al. 2024, arXiv 2406.03736, Theorem 1). So any
position may be drawn at any step from the scores, normalised over the codes. One position a step is
a draw of the model's own law, in whatever order that does not look at what is drawn; several at
once are drawn as if they were independent given what is there, and that is the error of few steps.

- "spread" draws positions that are far apart and so have little to tell each other: those of the
  van der Corput sequence (the order of bit reversal: 0, 1/2, 1/4, 3/4, 1/8, ...), turned at random
  by each sample. Halton's order is the same for images (arXiv 2503.17076). Exact at one position
  a step.
- "first_hitting" draws the positions that the process itself would unmask first, at the times of
  that (Zheng et al. 2024, arXiv 2409.02908): each position's masked share is drawn once, and that
  is its time, exactly where noise ends in masks alone, and to the 1e-3 that log-linear noise leaves
  at t = 1. Exact at one position a step; several are drawn at the time of the first, and nothing is
  then gained over a random order.
- "confidence" draws all masked positions and keeps the most probable draws (MaskGIT: Chang et al.
  2022, arXiv 2202.04200), after Gumbel noise on their log-probabilities that falls with the share
  of masks. Never exact: it prefers what is probable, at one position a step, too.
- "entropy" draws the most certain positions: as many as have together, without the least certain
  of them, no more entropy than a budget, in nats, which bounds what they have to tell each other
  (EB-sampler: Ben-Hamu et al. 2025, arXiv 2505.24857), but at least as many as the schedule
  demands. The number of evaluations is an outcome, and that of the steps its bound. At budget 0
  and one position a step it is exact if the model is; a trained one is asked in an order of its
  own choice.
- "remask" lets every position turn on its own, drawn ones back into masks as well, so that early
  errors can be mended (ReMDM-cap: Wang et al. 2025, arXiv 2503.00307): with probability
  s = min(cap, (1 - a') / a), where the schedule goes from a share a of codes to a'; masked ones are
  drawn with probability (a' - (1 - s) a) / (1 - a). Exact in the limit of many steps.

Where some tokens are known, order and counts run over the others alone. The network is told the
noise level at which the masked share is the one that it sees, unless `Known` asks for that of the
schedule; "first_hitting" tells it the time, where nothing is known.

Letters: B rows, L length.
"""

import math

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.graph import mask_of
from sedd_jax.diffusion.jump import ReverseStep, fold_in_rows, uniform_rows
from sedd_jax.diffusion.noise import masked_share_sigma
from sedd_jax.diffusion.process import Drawn, Process
from sedd_jax.diffusion.schedule import Steps


def spread(
    process: Process, steps: Steps, key_B: jax.Array, x_BxL: jax.Array, index: jax.Array | int
) -> Drawn:
    """x_BxL after step `index`, given x before it, by the sampler "spread"."""
    x_BxL, is_free_BxL = _settled(process, x_BxL)
    rank_BxL = spread_ranks(_order_keys(key_B, steps), is_free_BxL)
    drawn = process.draw(codes(process, x_BxL, steps.share(index)), fold_in_rows(key_B, 1 + index))
    return _take(drawn, x_BxL, are_due(steps, rank_BxL, is_free_BxL, index))


def first_hitting(
    process: Process, steps: Steps, key_B: jax.Array, x_BxL: jax.Array, index: jax.Array | int
) -> Drawn:
    """x_BxL after step `index`, given x before it, by the sampler "first_hitting"."""
    x_BxL, is_free_BxL = _settled(process, x_BxL)
    # The share of masks at which a position turns: uniform, whatever the noise.
    share_BxL = uniform_rows(_order_keys(key_B, steps), x_BxL.shape[1])
    share_BxL = jnp.where(is_free_BxL, share_BxL, -1.0)
    rank_BxL = (-share_BxL).argsort(-1).argsort(-1)
    is_due_BxL = are_due(steps, rank_BxL, is_free_BxL, index)
    told_B = jnp.where(is_due_BxL, share_BxL, 0.0).max(-1)
    step = codes(process, x_BxL, steps.share(index), told_B)
    return _take(process.draw(step, fold_in_rows(key_B, 1 + index)), x_BxL, is_due_BxL)


def confidence(
    process: Process, steps: Steps, key_B: jax.Array, x_BxL: jax.Array, index: jax.Array | int
) -> Drawn:
    """x_BxL after step `index`, given x before it, by the sampler "confidence"."""
    x_BxL, is_free_BxL = _settled(process, x_BxL)
    key_now_B = fold_in_rows(key_B, 1 + index)
    step = process.narrow(codes(process, x_BxL, steps.share(index)))
    drawn = Drawn(step.draw(key_now_B), step.is_defined().all(axis=-1))
    u_BxL = uniform_rows(fold_in_rows(key_now_B, 0), x_BxL.shape[1])
    gumbel_BxL = -jnp.log(-jnp.log(jnp.maximum(u_BxL, jnp.finfo(jnp.float32).tiny)))
    noise_BxL = steps.strength * steps.share(index + 1) * gumbel_BxL
    certain_BxL = step.log_prob(drawn.x_BxL) + noise_BxL
    return _take(drawn, x_BxL, _most(process, steps, certain_BxL, x_BxL, is_free_BxL, index))


def entropy(
    process: Process, steps: Steps, key_B: jax.Array, x_BxL: jax.Array, index: jax.Array | int
) -> Drawn:
    """x_BxL after step `index`, given x before it, by the sampler "entropy"."""
    x_BxL, is_free_BxL = _settled(process, x_BxL)
    step = process.narrow(codes(process, x_BxL, steps.share(index)))
    drawn = Drawn(step.draw(fold_in_rows(key_B, 1 + index)), step.is_defined().all(axis=-1))
    is_masked_BxL = is_free_BxL & (x_BxL == mask_of(process.graph))
    entropy_BxL = jnp.where(is_masked_BxL, step.target_entropy(), jnp.inf)
    order_BxL = entropy_BxL.argsort(-1)
    sorted_BxL = jnp.take_along_axis(jnp.where(is_masked_BxL, entropy_BxL, 0.0), order_BxL, -1)
    before_BxL = jnp.cumsum(sorted_BxL, -1) - sorted_BxL
    rank_BxL = order_BxL.argsort(-1)
    is_cheap_BxL = jnp.take_along_axis(before_BxL <= steps.strength, rank_BxL, -1)
    is_due_BxL = _most(process, steps, -entropy_BxL, x_BxL, is_free_BxL, index)
    return _take(drawn, x_BxL, is_masked_BxL & (is_cheap_BxL | is_due_BxL))


def remask(
    process: Process, steps: Steps, key_B: jax.Array, x_BxL: jax.Array, index: jax.Array | int
) -> Drawn:
    """x_BxL after step `index`, given x before it, by the sampler "remask"."""
    x_BxL, is_free_BxL = _settled(process, x_BxL)
    key_now_B = fold_in_rows(key_B, 1 + index)
    drawn = process.draw(codes(process, x_BxL, steps.share(index)), key_now_B)
    now, after = 1 - steps.share(index), 1 - steps.share(index + 1)  # shares of codes
    back = jnp.minimum(steps.strength, (1 - after) / jnp.maximum(now, 1e-9))
    forth = (after - (1 - back) * now) / (1 - now)
    u_BxL = uniform_rows(fold_in_rows(key_now_B, 0), x_BxL.shape[1])
    is_masked_BxL = x_BxL == mask_of(process.graph)
    turned_BxL = jnp.where(is_masked_BxL, drawn.x_BxL, mask_of(process.graph))
    turns_BxL = is_free_BxL & (u_BxL < jnp.where(is_masked_BxL, forth, back))
    return drawn._replace(x_BxL=jnp.where(turns_BxL, turned_BxL, x_BxL))


def are_due(
    steps: Steps, rank_BxL: jax.Array, is_free_BxL: jax.Array, index: jax.Array | int
) -> jax.Array:
    """The free positions that step `index` draws of an order, bool (B, L).

    rank_BxL: the place of each in it, from 0; of the others, something beyond.
    """
    num_B = is_free_BxL.sum(-1)
    first_B, last_B = (num_B - steps.left(num_B, i) for i in (index, index + 1))
    return is_free_BxL & (rank_BxL >= first_B[:, None]) & (rank_BxL < last_B[:, None])


def codes(
    process: Process, x_BxL: jax.Array, share: jax.Array, told_B: jax.Array | None = None
) -> ReverseStep:
    """The distribution of the code of every masked position given the tokens that are there.

    share: of the unknown tokens still to be drawn, []: the time, to guidance. told_B: the masked
    share whose noise the network is told in rows where nothing is known; that which it sees by
    default.
    """
    graph, noise, known = process.graph, process.noise, process.known
    seen_B = (x_BxL == mask_of(graph)).mean(-1)
    told_B = seen_B if told_B is None else told_B
    if known is not None:
        is_given_B = known.is_told(graph).any(-1)
        told_B = jnp.where(is_given_B, share if known.time == "schedule" else seen_B, told_B)
    sigma_B = masked_share_sigma(noise, told_B)
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


def _settled(process: Process, x_BxL: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x with the known tokens that the network sees in their places, and which are free, bool."""
    known = process.known
    if known is None:
        return x_BxL, jnp.ones(x_BxL.shape, bool)
    told_BxL = known.is_told(process.graph)
    return jnp.where(told_BxL, known.tokens_BxL.astype(jnp.int32), x_BxL), ~known.is_known_BxL


def _order_keys(key_B: jax.Array, steps: Steps) -> jax.Array:
    """The keys of what is drawn once for all steps."""
    return fold_in_rows(key_B, 2 + steps.num)


def _most(
    process: Process,
    steps: Steps,
    value_BxL: jax.Array,
    x_BxL: jax.Array,
    is_free_BxL: jax.Array,
    index: jax.Array | int,
) -> jax.Array:
    """The masked positions of the highest values, bool (B, L).

    They are as many as leave no more masks than the schedule does after step `index`.
    """
    is_masked_BxL = is_free_BxL & (x_BxL == mask_of(process.graph))
    left_B = steps.left(is_free_BxL.sum(-1), index + 1)
    num_B = jnp.maximum(is_masked_BxL.sum(-1) - left_B, 0)
    rank_BxL = (-jnp.where(is_masked_BxL, value_BxL, -jnp.inf)).argsort(-1).argsort(-1)
    return is_masked_BxL & (rank_BxL < num_B[:, None])


def _take(drawn: Drawn, x_BxL: jax.Array, is_now_BxL: jax.Array) -> Drawn:
    """The draws of some positions, and x elsewhere."""
    return drawn._replace(x_BxL=jnp.where(is_now_BxL, drawn.x_BxL, x_BxL))
