"""Dropout whose draws belong to a row, a block and a place: never to the batch or the mesh."""

import jax
import jax.numpy as jnp

LANE = 2**16


def keep_masks(key_B, block, length: int, width: int, rate: float):
    """Two independent boolean (B, L, D) masks for one block, True with probability 1 - rate.

    key_B: typed keys, one a row; block: the block's index. One 32-bit word a position and channel
    gives both masks, 16 bits each, so that the rate is met to 1/65,536. The words are a hash of
    (key, position, channel): dropout needs no more, it fuses into what uses the mask, and it costs
    a twentieth of threefry's draws on a CPU.
    """
    key_Bx2 = jax.random.key_data(jax.vmap(jax.random.fold_in, (0, None))(key_B, block))
    key_Bx1x1x2 = key_Bx2[:, None, None, :]
    position_LxD, channel_LxD = (
        jax.lax.broadcasted_iota(jnp.uint32, (length, width), axis) for axis in (0, 1)
    )
    place_LxD = position_LxD * jnp.uint32(width) + channel_LxD
    word_BxLxD = _mix(_mix(place_LxD[None] + key_Bx1x1x2[..., 0]) ^ key_Bx1x1x2[..., 1])
    threshold = jnp.uint32(round(rate * LANE))
    return word_BxLxD % LANE >= threshold, word_BxLxD // LANE >= threshold


def _mix(x):
    """A bijection of uint32 that mixes its bits.

    Every output bit flips with probability near 1/2 when one input bit does. The constants
    are those of C. Wellons, "Prospecting for hash functions" (2018), lowbias32.
    """
    x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
    x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
    return x ^ (x >> 16)


def dropout(x_BxLxD, keep_BxLxD, rate: float):
    """x where kept, scaled so that its expectation stays; x itself when there is no mask."""
    if keep_BxLxD is None:
        return x_BxLxD
    return jnp.where(keep_BxLxD, x_BxLxD / (1.0 - rate), 0.0)
