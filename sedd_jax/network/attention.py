"""Bidirectional attention by name. B batch, L length, H heads, K head width."""

import jax
import jax.numpy as jnp

IMPLEMENTATIONS = ("auto", "xla", "cudnn")


def attention(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, implementation: str):
    """softmax(q kᵀ / √K) v over all positions, the softmax in fp32.

    Returns (B, L, H, K) in the dtype of v. `implementation` is one of IMPLEMENTATIONS; "auto" is
    cuDNN's flash attention for 16-bit inputs on a GPU and XLA's otherwise.
    Raises ValueError for an unknown name.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"attention {implementation!r} is not one of {IMPLEMENTATIONS}")
    if implementation == "auto":
        flash = jax.default_backend() == "gpu" and v_BxLxHxK.dtype != jnp.float32
        implementation = "cudnn" if flash else "xla"
    return jax.nn.dot_product_attention(
        q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, implementation=implementation
    )
