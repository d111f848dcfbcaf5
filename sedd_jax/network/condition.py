"""The embedding of a condition, which is added to that of the noise level.

B batch, N tags of a row (ids, those of no tag included), T tags known, C condition width, W1 the
width of a kind of vectors and 1 for whether a row has one (sedd_jax/conditions.py).
Everything starts at zero, so that a fresh conditional network is the unconditional one.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def init_params(num_tags: int, vectors: Mapping[str, int], cond_dim: int) -> dict:
    """Fresh parameters, zero, of what is known of tags and of vectors (kind → their width).

    {"tags": {"embedding": (T, C)}, "vectors": {kind: {"kernel": (W1, C)}}}
    """
    params: dict = {}
    if num_tags:
        params["tags"] = {"embedding": jnp.zeros((num_tags, cond_dim))}
    if vectors:
        params["vectors"] = {
            kind: {"kernel": jnp.zeros((width + 1, cond_dim))} for kind, width in vectors.items()
        }
    return params


def embed(params: dict, condition: dict) -> jax.Array:
    """The sum of what is known of a sample, (B, C) fp32; at least one of tags and vectors is."""
    parts = [embed_tags(params["tags"], condition["tags"])] if "tags" in condition else []
    for kind, vector_BxW1 in sorted(condition.get("vectors", {}).items()):
        parts.append(_dot(vector_BxW1, params["vectors"][kind]["kernel"]))
    return sum(parts[1:], start=parts[0])


def embed_tags(params: dict, tags_BxN: jax.Array) -> jax.Array:
    """The sum of the rows of a sample's tags, (B, C) fp32; ids ≥ T add nothing."""
    table_TxC = params["embedding"]
    tag_T = jnp.arange(table_TxC.shape[0])
    has_BxT = (tags_BxN[:, :, None] == tag_T[None, None, :]).any(axis=1)
    # A product and not a gather: its gradient is one too, so that nothing is added in random order.
    return _dot(has_BxT.astype(jnp.float32), table_TxC)


def _dot(row_BxK: jax.Array, kernel_KxC: jax.Array) -> jax.Array:
    return jnp.dot(row_BxK, kernel_KxC, precision=jax.lax.Precision.HIGHEST)
