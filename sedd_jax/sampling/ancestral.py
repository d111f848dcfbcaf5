"""Sampling of an autoregressive model: one token after another, in order.

It has the programs of sedd_jax/sampling/generate.py: a step is a position, several are one compiled
scan, and the state of a batch is its tokens and the network's cache. Draws are those of diffusion,
temperature, top-k and top-p too (sedd_jax/diffusion/draws.py), where a position always jumps from
the mask; their keys are a row's and its positions'. Tokens that are known at the beginning are read
instead of drawn.

Guidance is that of the absorbing graph (sedd_jax/diffusion/guidance.py): with weight w a token is
drawn from p_c^w p_o^(1-w) over the codes, renormalised, where p_c and p_o are its laws given the
tokens before it and the sample's condition or the other one. The network reads the same tokens for
both, in neighbouring rows of one batch. A schedule goes from the first position to the last.

Letters: B rows, R rows that the network reads (2B with guidance, else B), L length, N blocks,
K codes, V codes and mask.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp
import numpy as np

from sedd_jax.diffusion.draws import Draws
from sedd_jax.diffusion.graph import mask_of
from sedd_jax.diffusion.guidance import mix_codes, weight_at
from sedd_jax.diffusion.jump import JumpLaw, ReverseStep, fold_in_rows
from sedd_jax.diffusion.known import TIMES, Known
from sedd_jax.diffusion.sampler import Drawn
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef
from sedd_jax.network.decoding import Cache, read_token
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.sampling.guide import Guide, paired
from sedd_jax.state import Params


class Reading(NamedTuple):
    """The state of a batch: its tokens, the mask where there is none yet, and the cache, R rows."""

    x_BxL: jax.Array
    cache: Cache


def require(known: Known | None) -> None:
    """Raises UserError for known tokens that an autoregressive model cannot be given."""
    if known is not None:
        is_known_NxL = np.asarray(known.is_known_BxL)
        if (is_known_NxL[:, 1:] & ~is_known_NxL[:, :-1]).any():
            raise UserError(
                "an autoregressive model goes on from a beginning: it cannot be given tokens that "
                "stand behind those to be drawn"
            )
        if known.sweeps > 1 or known.time != TIMES[0]:
            raise UserError("sweeps and times of known tokens are for diffusion models")


def is_guided(guide: Guide | None) -> TypeGuard[Guide]:
    """True where another model guides the samples'."""
    return guide is not None and guide.other is not None


def make_programs(run: ModelDef, length: int) -> tuple[Callable, Callable, Callable]:
    """start, advance and finish, as `Programs` of sedd_jax/sampling/generate.py has them.

    There is a step a position, and nothing is left to finish.
    """
    rows, whole = mesh_lib.batch_sharding(run.mesh), mesh_lib.replicated(run.mesh)
    stacked = mesh_lib.microbatch_sharding(run.mesh)  # rows second, behind the blocks
    state = Reading(rows, Cache(stacked, stacked))

    @functools.partial(jax.jit, out_shardings=state)
    def start(key_B, guide=None):
        x_BxL = jnp.full((len(key_B), length), run.graph.mask_id, jnp.int32)
        num_rows = len(key_B) * (2 if is_guided(guide) else 1)
        return Reading(x_BxL, Cache.empty(run.network, num_rows, length))

    @functools.partial(
        jax.jit,
        out_shardings=Drawn(state, whole),
        donate_argnames="reading",
        static_argnames="num",
    )
    def advance(params, key_B, reading, first, num, guide=None, known=None, draws=None):
        return _draw_tokens(run, params, key_B, reading, first, num, guide, known, draws)

    @functools.partial(jax.jit, out_shardings=Drawn(whole, whole))
    def finish(params, key_B, reading, guide=None, known=None, draws=None):
        del params, guide, known, draws
        return Drawn(reading.x_BxL, jnp.ones(len(key_B), bool))

    return start, advance, finish


def _draw_tokens(
    run: ModelDef,
    params: Params,
    key_B: jax.Array,
    reading: Reading,
    first: jax.Array,
    num: int,
    guide: Guide | None,
    known: Known | None,
    draws: Draws | None,
) -> Drawn:
    """`num` positions on, from `first`; `Drawn` holds a Reading."""
    mask_id = mask_of(run.graph)
    mask_B = jnp.full(len(key_B), mask_id, jnp.int32)
    length = reading.x_BxL.shape[1]
    copies, condition = 1, None if guide is None else guide.condition
    if is_guided(guide):
        copies, condition = 2, paired(guide)

    def log_probs(output_RxV: jax.Array, position: jax.Array) -> jax.Array:
        """log p of each code, (B, K), guided where there is guidance."""
        log_prob_RxK = jax.nn.log_softmax(output_RxV[:, : run.graph.num_codes])
        if not is_guided(guide):
            return log_prob_RxK
        log_score_RxV = jnp.pad(log_prob_RxK, ((0, 0), (0, 1)))
        weight = weight_at(guide.schedule, guide.weight, 1 - position / length)
        own_Bx1xV, other_Bx1xV = (log_score_RxV[i::2, None] for i in range(2))
        return mix_codes(mask_id, mask_B[:, None], own_Bx1xV, other_Bx1xV, weight)[:, 0, :-1]

    def draw(carry: tuple[Reading, jax.Array], position: jax.Array) -> tuple[Any, None]:
        (x_BxL, cache), is_defined_B = carry
        before_B = jax.lax.dynamic_index_in_dim(x_BxL, position - 1, 1, keepdims=False)
        input_B = jnp.where(position == 0, mask_B, before_B)
        input_R = jnp.repeat(input_B, copies)
        output_RxV, cache = read_token(
            run.network, params, input_R, position, cache, condition=condition
        )
        step = _step(mask_B, log_probs(output_RxV, position))
        if draws is not None:
            step = draws.narrow(step)
        token_B = step.draw(fold_in_rows(key_B, position))[:, 0]
        is_right_B = step.is_defined()[:, 0]
        if known is not None:
            given_B, is_given_B = (
                jax.lax.dynamic_index_in_dim(values_BxL, position, 1, keepdims=False)
                for values_BxL in (known.tokens_BxL, known.is_known_BxL)
            )
            token_B = jnp.where(is_given_B, given_B.astype(jnp.int32), token_B)
        x_BxL = jax.lax.dynamic_update_index_in_dim(x_BxL, token_B, position, 1)
        return (Reading(x_BxL, cache), is_defined_B & is_right_B), None

    is_defined_B = jnp.ones(len(key_B), bool)
    carry, _ = jax.lax.scan(draw, (reading, is_defined_B), first + jnp.arange(num))
    return Drawn(*carry)


def _step(mask_B: jax.Array, log_prob_BxK: jax.Array) -> ReverseStep:
    """A step from the mask that always jumps, to each code with its probability: (B, 1)."""
    x_Bx1, zero_Bx1 = mask_B[:, None], jnp.zeros((len(mask_B), 1))
    log_score_BxV = jnp.pad(log_prob_BxK, ((0, 0), (0, 1)))
    return ReverseStep.make(x_Bx1, log_score_BxV[:, None], JumpLaw(zero_Bx1, zero_Bx1 + 1))
