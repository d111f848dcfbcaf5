"""Rotary position embedding, rotate-half form (Su et al. 2021, arXiv:2104.09864)."""

import jax.numpy as jnp

MAX_PERIOD = 10_000.0


def rotary_tables(length: int, head_width: int):
    """(cos, sin), each (L, 1, K) fp32: to broadcast over batch and heads."""
    frequency_K2 = MAX_PERIOD ** (-jnp.arange(0, head_width, 2, dtype=jnp.float32) / head_width)
    angle_LxK2 = jnp.arange(length, dtype=jnp.float32)[:, None] * frequency_K2[None, :]
    angle_Lx1xK = jnp.concatenate([angle_LxK2, angle_LxK2], axis=-1)[:, None, :]
    return jnp.cos(angle_Lx1xK), jnp.sin(angle_Lx1xK)


def rotate(x_BxLxHxK, cos_Lx1xK, sin_Lx1xK):
    """x turned by its position's angles; computed in fp32, returned in the dtype of x."""
    first, second = jnp.split(x_BxLxHxK, 2, axis=-1)
    turned_BxLxHxK = jnp.concatenate([-second, first], axis=-1)
    return (x_BxLxHxK * cos_Lx1xK[None] + turned_BxLxHxK * sin_Lx1xK[None]).astype(x_BxLxHxK.dtype)
