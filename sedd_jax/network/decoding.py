"""One token after another: the causal network at a position, with what it keeps of those before.

B batch, L length, N blocks, H heads, K head width, V vocabulary with mask, D width, S positions.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.network import transformer
from sedd_jax.network.linear import precision
from sedd_jax.network.rotary import rotary_tables


class Cache(NamedTuple):
    """Keys, turned by their positions, and values of the positions read so far, in all blocks.

    Where none has been read yet there are zeros.
    """

    key_NxBxLxHxK: jax.Array
    value_NxBxLxHxK: jax.Array

    @classmethod
    def empty(cls, config: transformer.NetworkConfig, batch_size: int, length: int) -> "Cache":
        shape = (config.num_blocks, batch_size, length, config.num_heads, config.head_width)
        return cls(*(jnp.zeros(shape, config.compute_dtype) for _ in range(2)))


def read_token(
    config: transformer.NetworkConfig,
    params: dict,
    token_B: jax.Array,
    position: jax.Array,
    cache: Cache,
    condition: dict | None = None,
) -> tuple[jax.Array, Cache]:
    """What `transformer.output` puts out at a position, (B, V), and the cache with it.

    token_B: the network's input there; position: [], those before it are in the cache. The network
    is one that is told no noise level. A mesh is left to XLA's partitioner.
    """
    config = dataclasses.replace(config, mesh=None)  # whose layouts split positions
    batch_size, length = cache.key_NxBxLxHxK.shape[1:3]
    rotary = [
        jax.lax.dynamic_slice_in_dim(table_Lx1xK, position, 1)
        for table_Lx1xK in rotary_tables(length, config.head_width)
    ]
    cond_BxC = transformer.embed_condition(config, params, jnp.zeros(batch_size), condition)
    is_read_L = jnp.arange(length) <= position

    def block(x_Bx1xD, params_and_cache):
        params, cached = params_and_cache  # of this block
        kept = cached

        def attend(q_Bx1xHxK, k_Bx1xHxK, v_Bx1xHxK):
            nonlocal kept
            kept = [
                jax.lax.dynamic_update_slice_in_dim(old_BxLxHxK, new_Bx1xHxK, position, axis=1)
                for old_BxLxHxK, new_Bx1xHxK in zip(cached, (k_Bx1xHxK, v_Bx1xHxK), strict=True)
            ]
            return _attend(q_Bx1xHxK, *kept, is_read_L)

        module = transformer.module(config, "blocks", params)
        return module(x_Bx1xD, cond_BxC, rotary, (None, None), attend), tuple(kept)

    x_Bx1xD = transformer.module(config, "vocab_embed", params["vocab_embed"])(token_B[:, None])
    x_Bx1xD, kept = jax.lax.scan(block, x_Bx1xD, (params["blocks"], tuple(cache)))
    head = transformer.module(config, "output_layer", params["output_layer"])
    return head(x_Bx1xD, cond_BxC)[:, 0], Cache(*kept)


def _attend(q_Bx1xHxK, k_BxLxHxK, v_BxLxHxK, is_read_L):
    """Attention of one query over what has been read, its softmax in fp32: (B, 1, H, K)."""
    exact = precision(q_Bx1xHxK.dtype)
    scale = q_Bx1xHxK.shape[-1] ** -0.5
    score_BxHxL = jnp.einsum(
        "bhk,blhk->bhl", q_Bx1xHxK[:, 0] * scale, k_BxLxHxK,
        precision=exact, preferred_element_type=jnp.float32,
    )  # fmt: skip
    score_BxHxL = jnp.where(is_read_L[None, None, :], score_BxHxL, -jnp.inf)
    share_BxHxL = jax.nn.softmax(score_BxHxL).astype(v_BxLxHxK.dtype)
    o_BxHxK = jnp.einsum("bhl,blhk->bhk", share_BxHxL, v_BxLxHxK, precision=exact)
    return o_BxHxK[:, None]
