"""One reverse step at every position: jump or stay, then where to; and how to draw it cheaply.

Drawing jump-or-stay together with the target from one fp32 Gumbel over V + 1 entries jumps too
rarely once V is in the thousands and steps are short: the largest of 4,096 Gumbels is drawn from a
tail that 23 random bits do not resolve. Here a first uniform decides whether to jump and two more
pick the target by inverse CDF, first among blocks of codes, then inside one: three random numbers a
position instead of V, and one pass over the log-scores.

Letters: B batch, L length, V vocabulary; G blocks, J codes in a block (G J >= V).
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Codes g, g + 128, g + 256, … make up block g: sums over blocks are then sums of slices as wide as
# a vector unit, on every backend.
_NUM_BLOCKS = 128


class JumpLaw(NamedTuple):
    """Unnormalised law of a step: weight `stay` for x, gain max(s_y - floor, 0) for another y."""

    stay_BxL: jax.Array
    gain_BxL: jax.Array
    floor_BxL: jax.Array | None = None  # None is zero


# A graph's law of a step from x through some noise, given the sum of the scores of all codes but x:
# (x_BxL, score_sum_BxL, noise_B) -> JumpLaw.
LawFn = Callable[[jax.Array, jax.Array, jax.Array], JumpLaw]


@dataclasses.dataclass(frozen=True)
class ReverseStep:
    """A step from x under a law: its distribution at every position, ready to be drawn from."""

    x_BxL: jax.Array
    log_score_BxLxV: jax.Array
    law: JumpLaw
    block_BxLxG: jax.Array  # block sums of max(s - floor, 0)

    @classmethod
    def make(
        cls,
        x_BxL: jax.Array,
        log_score_BxLxV: jax.Array,
        law: JumpLaw,
        score_BxLxG: jax.Array | None = None,
    ) -> "ReverseStep":
        """The step under a law; score_BxLxG: block sums of the scores, where they are known."""
        if law.floor_BxL is None and score_BxLxG is not None:
            return cls(x_BxL, log_score_BxLxV, law, score_BxLxG)
        block_BxLxG = block_sums(log_score_BxLxV, x_BxL, law.floor_BxL)
        return cls(x_BxL, log_score_BxLxV, law, block_BxLxG)

    def jump_weight(self) -> jax.Array:
        """Weight of all targets together, (B, L), on the scale of law.stay_BxL.

        Where the law cannot jump it is 0, whatever the scores are: their sum may be infinite.
        """
        gain_BxL = self.law.gain_BxL
        return jnp.where(gain_BxL == 0, 0.0, gain_BxL * self.block_BxLxG.sum(-1))

    def is_defined(self) -> jax.Array:
        """True where there is a law to draw from, (B, L): weights finite and not all zero.

        From weights that are not finite, `draw` gives tokens too: nothing in them tells.
        """
        total_BxL = self.law.stay_BxL + self.jump_weight()
        return (total_BxL > 0) & (total_BxL < jnp.inf)

    def draw(self, key_B: jax.Array) -> jax.Array:
        """The next tokens x_BxL, int32; row b depends on key_B[b] alone."""
        u_Bx3xL = uniform_rows(key_B, 3, self.x_BxL.shape[1])
        jump_BxL = self.jump_weight()
        jumps_BxL = u_Bx3xL[:, 0] * (self.law.stay_BxL + jump_BxL) < jump_BxL

        vocab = self.log_score_BxLxV.shape[-1]
        j_1x1xJ = jnp.arange(_block_size(vocab))[None, None]
        block_BxLx1 = pick(u_Bx3xL[:, 1], self.block_BxLxG)[..., None]
        code_BxLxJ, is_new_BxLxJ = _codes(j_1x1xJ, block_BxLx1, vocab)
        weight_BxLxJ = jnp.where(is_new_BxLxJ, self._weights(code_BxLxJ), 0.0)
        j_BxLx1 = pick(u_Bx3xL[:, 2], weight_BxLxJ)[..., None]
        target_BxL = jnp.take_along_axis(code_BxLxJ, j_BxLx1, axis=-1)[..., 0]
        return jnp.where(jumps_BxL, target_BxL, self.x_BxL)

    def log_prob(self, target_BxL: jax.Array) -> jax.Array:
        """Log-probability, (B, L), with which `draw` gives these tokens."""
        target_weight_BxL = self.law.gain_BxL * self._weights(target_BxL[..., None])[..., 0]
        weight_BxL = jnp.where(target_BxL == self.x_BxL, self.law.stay_BxL, target_weight_BxL)
        return jnp.log(weight_BxL) - jnp.log(self.law.stay_BxL + self.jump_weight())

    def target_entropy(self) -> jax.Array:
        """The entropy of where each position jumps, given that it does, (B, L) nats."""
        code_1x1xV = jnp.arange(self.log_score_BxLxV.shape[-1])[None, None]
        weight_BxLxV = _target_weights(
            self.log_score_BxLxV, code_1x1xV, self.x_BxL, self.law.floor_BxL
        )
        sum_BxL = self.block_BxLxG.sum(-1)
        log_BxLxV = jnp.log(jnp.where(weight_BxLxV > 0, weight_BxLxV, 1.0))
        return jnp.log(sum_BxL) - (weight_BxLxV * log_BxLxV).sum(-1) / sum_BxL

    def _weights(self, code_BxLxN: jax.Array) -> jax.Array:
        """max(s - floor, 0) of some codes, (B, L, N), zero for x."""
        log_score_BxLxN = jnp.take_along_axis(self.log_score_BxLxV, code_BxLxN, axis=-1)
        return _target_weights(log_score_BxLxN, code_BxLxN, self.x_BxL, self.law.floor_BxL)


def make_step(
    law_fn: LawFn, x_BxL: jax.Array, log_score_BxLxV: jax.Array, noise_B: jax.Array
) -> ReverseStep:
    """The step from x through the noise, by one of a graph's laws."""
    score_BxLxG = block_sums(log_score_BxLxV, x_BxL)
    law = law_fn(x_BxL, score_BxLxG.sum(-1), noise_B)
    return ReverseStep.make(x_BxL, log_score_BxLxV, law, score_BxLxG)


def block_sums(
    log_score_BxLxV: jax.Array, x_BxL: jax.Array, floor_BxL: jax.Array | None = None
) -> jax.Array:
    """Sums of max(exp(log-score) - floor, 0) over the codes of each block but x, (B, L, G)."""
    vocab = log_score_BxLxV.shape[-1]
    num_blocks = min(_NUM_BLOCKS, vocab)

    def add_slice(j, total_BxLxG):
        code_1x1xG, is_new_1x1xG = _codes(j, jnp.arange(num_blocks)[None, None], vocab)
        slice_BxLxG = jax.lax.dynamic_slice_in_dim(
            log_score_BxLxV, code_1x1xG[0, 0, 0], num_blocks, axis=2
        )
        weight_BxLxG = _target_weights(slice_BxLxG, code_1x1xG, x_BxL, floor_BxL)
        return total_BxLxG + jnp.where(is_new_1x1xG, weight_BxLxG, 0.0)

    # A loop over slices: one pass, vectorised, and no temporary of the log-scores' size on any
    # backend, which a sum over a reshaped exponential costs on a CPU.
    zero_BxLxG = jnp.zeros((*x_BxL.shape, num_blocks))
    return jax.lax.fori_loop(0, _block_size(vocab), add_slice, zero_BxLxG)


def uniform_rows(key_B: jax.Array, *shape: int) -> jax.Array:
    """Uniforms in [0, 1), (B, *shape): row b depends on key_B[b] alone."""
    return jax.vmap(lambda key: jax.random.uniform(key, shape))(key_B)


def fold_in_rows(key_B: jax.Array, data: jax.Array | int) -> jax.Array:
    """The keys of the same rows for another purpose, numbered `data`; (B,)."""
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(key_B, data)


def pick(u: jax.Array, weight: jax.Array) -> jax.Array:
    """The index along the last axis where the share u of the total weight is passed; int32.

    Never an index of weight zero (unless all are), in whatever order the backend sums.
    """
    cumulated = jnp.cumsum(weight, axis=-1)
    # A hair less than the total: partial sums differ from it by rounding where the last weights
    # are zero, and a share must not end beyond the last that is not.
    target = (1 - 2**-20) * u[..., None] * cumulated[..., -1:]
    return jnp.argmax((cumulated > target) & (weight > 0), axis=-1).astype(jnp.int32)


def _block_size(vocab: int) -> int:
    """J: how many codes a block holds."""
    return -(-vocab // _NUM_BLOCKS)


def _codes(j: jax.Array, block: jax.Array, vocab: int) -> tuple[jax.Array, jax.Array]:
    """Code j of a block, and whether it is new: the last slice starts early, to end with V."""
    num_blocks = min(_NUM_BLOCKS, vocab)
    code = jnp.minimum(j * num_blocks, vocab - num_blocks) + block
    return code, code >= j * num_blocks


def _target_weights(
    log_score_BxLxN: jax.Array, code_N: jax.Array, x_BxL: jax.Array, floor_BxL: jax.Array | None
) -> jax.Array:
    """max(exp(log-score) - floor, 0), zero where the code (B or 1, L or 1, N) is x; (B, L, N)."""
    weight_BxLxN = jnp.exp(log_score_BxLxN)
    if floor_BxL is not None:
        weight_BxLxN = jnp.maximum(weight_BxLxN - floor_BxL[..., None], 0.0)
    return jnp.where(code_N == x_BxL[..., None], 0.0, weight_BxLxN)
