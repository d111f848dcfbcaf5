"""Layer normalisation modulated by a condition (adaLN), with a gradient of its own.

B batch, L length, D width.
"""

import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

LAYER_NORM_EPS = 1e-5


class ModulatedNorm(nnx.Module):
    """norm(x) · (1 + scale) + shift: the norm over the last axis, with a scale and no bias."""

    def __init__(self, width: int):
        self.scale = nnx.Param(jnp.ones(width))

    def __call__(self, x_BxLxD, shift_Bx1xD, scale_Bx1xD, dtype):
        """(B, L, D) in `dtype`; computed in fp32."""
        return _modulated_norm(x_BxLxD, self.scale[...], shift_Bx1xD, scale_Bx1xD, dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _modulated_norm(x_BxLxD, weight_D, shift_Bx1xD, scale_Bx1xD, dtype):
    return _forward(x_BxLxD, weight_D, shift_Bx1xD, scale_Bx1xD, dtype)[0]


def _forward(x_BxLxD, weight_D, shift_Bx1xD, scale_Bx1xD, dtype):
    x_32 = x_BxLxD.astype(jnp.float32)
    mean_BxLx1 = x_32.mean(axis=-1, keepdims=True)
    variance_BxLx1 = jnp.square(x_32 - mean_BxLx1).mean(axis=-1, keepdims=True)
    # Two numbers a position: all that the backward pass needs beside x, and cheap to keep.
    mean_BxLx1, rate_BxLx1 = checkpoint_name(
        (mean_BxLx1, jax.lax.rsqrt(variance_BxLx1 + LAYER_NORM_EPS)), "norm"
    )
    normed_BxLxD = (x_32 - mean_BxLx1) * rate_BxLx1
    y_BxLxD = normed_BxLxD * weight_D[None, None, :] * (1 + scale_Bx1xD) + shift_Bx1xD
    return y_BxLxD.astype(dtype), (x_BxLxD, mean_BxLx1, rate_BxLx1, weight_D, scale_Bx1xD)


def _backward(dtype, residuals, dy_BxLxD):
    """Gradients of x, weight, shift and scale: on a TPU JAX's own, which cost its programs less."""
    return jax.lax.platform_dependent(
        *residuals,
        dy_BxLxD,
        tpu=functools.partial(_gradients_by_autodiff, dtype),
        cuda=functools.partial(_gradients, _sums_in_one_pass),
        default=functools.partial(_gradients, _sums),
    )


def _gradients(sums, x_BxLxD, mean_BxLx1, rate_BxLx1, weight_D, scale_Bx1xD, dy_BxLxD):
    """With n = norm(x) and g the gradient of n, that of x is rate (g - mean(g) - n · mean(g · n)).

    All other gradients follow from two sums over positions: of dy, and of dy · n.
    """
    dy_BxLxD = dy_BxLxD.astype(jnp.float32)
    normed_BxLxD = (x_BxLxD.astype(jnp.float32) - mean_BxLx1) * rate_BxLx1
    g_BxLxD = dy_BxLxD * (weight_D[None, None, :] * (1 + scale_Bx1xD))
    along_BxLx1 = (g_BxLxD * normed_BxLxD).mean(axis=-1, keepdims=True)
    centred_BxLxD = g_BxLxD - g_BxLxD.mean(axis=-1, keepdims=True)
    dx_BxLxD = rate_BxLx1 * (centred_BxLxD - normed_BxLxD * along_BxLx1)
    dshift_Bx1xD, sum_Bx1xD = sums(dy_BxLxD, dy_BxLxD * normed_BxLxD)
    dweight_D = (sum_Bx1xD * (1 + scale_Bx1xD)).sum(axis=(0, 1))
    dscale_Bx1xD = sum_Bx1xD * weight_D[None, None, :]
    return dx_BxLxD.astype(x_BxLxD.dtype), dweight_D, dshift_Bx1xD, dscale_Bx1xD


def _gradients_by_autodiff(dtype, x_BxLxD, mean_BxLx1, rate_BxLx1, weight_D, scale_Bx1xD, dy_BxLxD):
    """`_gradients`, from x alone."""
    del mean_BxLx1, rate_BxLx1
    no_shift_Bx1xD = jnp.zeros_like(scale_Bx1xD)  # whose value no gradient depends on
    arguments = (x_BxLxD, weight_D, no_shift_Bx1xD, scale_Bx1xD)
    return jax.vjp(lambda *given: _forward(*given, dtype)[0], *arguments)[1](dy_BxLxD)


def _sums(a_BxLxD, b_BxLxD):
    """The sums over positions of two arrays, each (B, 1, D)."""
    return a_BxLxD.sum(axis=1, keepdims=True), b_BxLxD.sum(axis=1, keepdims=True)


def _sums_in_one_pass(a_BxLxD, b_BxLxD):
    """`_sums` as one sum of complex numbers: for two, XLA would read twice what they share."""
    sum_Bx1xD = jax.lax.complex(a_BxLxD, b_BxLxD).sum(axis=1, keepdims=True)
    return sum_Bx1xD.real, sum_Bx1xD.imag


_modulated_norm.defvjp(_forward, _backward)
