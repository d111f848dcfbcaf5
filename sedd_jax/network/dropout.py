"""Dropout whose draws belong to a row, a block and a site: never to the batch or the mesh."""

import jax
import jax.numpy as jnp
from jax.extend.random import threefry2x32_p

LANES = 2**16


def keep_masks(key_B, block, length: int, width: int, rate: float):
    """Two boolean (B, L, D) masks for one block, True with probability 1 - rate.

    `key_B` are typed threefry keys, one a row; `block` is the block's index. One threefry call
    makes two 32-bit words, one for each mask, and each word serves two positions of the width as
    16-bit lanes, so that a mask value costs a quarter of a call; the rate is met to 1/65,536.
    Raises ValueError for an odd width.
    """
    if width % 2:
        raise ValueError(f"dropout draws two values a word: width {width} must be even")
    half = width // 2
    key_Bx2 = jax.random.key_data(jax.vmap(jax.random.fold_in, (0, None))(key_B, block))
    position_BxLxD2 = jax.lax.broadcasted_iota(jnp.uint32, (key_Bx2.shape[0], length, half), 1)
    channel_BxLxD2 = jax.lax.broadcasted_iota(jnp.uint32, position_BxLxD2.shape, 2)
    words = threefry2x32_p.bind(
        jnp.broadcast_to(key_Bx2[:, 0, None, None], position_BxLxD2.shape),
        jnp.broadcast_to(key_Bx2[:, 1, None, None], position_BxLxD2.shape),
        position_BxLxD2,
        channel_BxLxD2,
    )
    threshold = jnp.uint32(round(rate * LANES))
    return tuple(
        jnp.concatenate([word & (LANES - 1), word >> 16], axis=-1) >= threshold for word in words
    )


def dropout(x_BxLxD, keep_BxLxD, rate: float):
    """x where kept, scaled so that its expectation stays; x itself when there is no mask."""
    if keep_BxLxD is None:
        return x_BxLxD
    return jnp.where(keep_BxLxD, x_BxLxD / (1.0 - rate), 0.0)
