"""The embedding of a condition, which is added to that of the noise level.

B batch, N tags of a row (ids, those of no tag included), T tags known, C condition width.
Everything starts at zero, so that a fresh conditional network is the unconditional one.
"""

import jax
import jax.numpy as jnp


def init_params(num_tags: int, cond_dim: int) -> dict:
    """Fresh parameters, zero: {"tags": {"embedding": (T, C)}}."""
    return {"tags": {"embedding": jnp.zeros((num_tags, cond_dim))}}


def embed(params: dict, condition: dict) -> jax.Array:
    """The sum of the rows of a sample's tags, (B, C) fp32; ids ≥ T add nothing."""
    table_TxC = params["tags"]["embedding"]
    tag_T = jnp.arange(table_TxC.shape[0])
    has_BxT = (condition["tags"][:, :, None] == tag_T[None, None, :]).any(axis=1)
    # A product and not a gather: its gradient is one too, so that nothing is added in random order.
    return jnp.dot(has_BxT.astype(jnp.float32), table_TxC, precision=jax.lax.Precision.HIGHEST)
