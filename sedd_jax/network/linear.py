"""Linear layers: PyTorch's default initialisation, and a weight gradient that is fast on CPUs."""

import math

import jax
import jax.numpy as jnp
from flax import nnx


def uniform(fan_in: int):
    """U(±1/√fan_in): PyTorch's default for the kernels and biases of linear layers."""
    bound = 1.0 / math.sqrt(fan_in)
    return lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -bound, bound)


class Linear(nnx.Module):
    """(…, I) → (…, O): x @ kernel + bias, computed in `dtype`; the parameters are fp32.

    `out_size` may be a tuple: then O is several axes. `zero` starts all parameters at zero.
    """

    def __init__(self, in_size, out_size, *, rngs, dtype=jnp.float32, use_bias=True, zero=False):
        out_shape = out_size if isinstance(out_size, tuple) else (out_size,)
        init = nnx.initializers.zeros_init() if zero else uniform(in_size)
        self.kernel = nnx.Param(init(rngs.params(), (in_size, *out_shape)))
        self.bias = nnx.Param(init(rngs.params(), out_shape)) if use_bias else None
        self.dtype = dtype

    def __call__(self, x):
        kernel = self.kernel[...].astype(self.dtype)
        out_shape = kernel.shape[1:]
        y = _matmul(x.astype(self.dtype), kernel.reshape(kernel.shape[0], -1))
        y = y.reshape(*x.shape[:-1], *out_shape)
        if self.bias is None:
            return y
        bias = self.bias[...].astype(self.dtype)
        return y + bias.reshape((1,) * (x.ndim - 1) + out_shape)


@jax.custom_vjp
def _matmul(x, kernel_IxO):
    return x @ kernel_IxO


def _matmul_forward(x, kernel_IxO):
    return x @ kernel_IxO, (x, kernel_IxO)


def _matmul_backward(residuals, dy):
    x, kernel_IxO = residuals
    x_RxI, dy_RxO = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    dkernel_IxO = jax.lax.platform_dependent(
        x_RxI, dy_RxO, cpu=_transpose_then_matmul, default=lambda x, dy: x.T @ dy
    )
    return dy @ kernel_IxO.T, dkernel_IxO


_matmul.defvjp(_matmul_forward, _matmul_backward)


def _transpose_then_matmul(x_RxI, dy_RxO):
    """xᵀ dy with the transpose of the narrower one written out.

    XLA's fast CPU kernels do not take a contraction over both leading axes: what it falls back on
    has half the speed where a width is a power of two. The barriers keep it from folding the
    transposes back into the product.
    """
    if x_RxI.shape[1] > dy_RxO.shape[1]:
        return jax.lax.optimization_barrier(_transpose_then_matmul(dy_RxO, x_RxI)).T
    return jax.lax.optimization_barrier(x_RxI.T) @ dy_RxO
