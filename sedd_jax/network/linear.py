"""Linear layers with PyTorch's default initialisation and weights gathered where they are used.

The gradient of a weight is in fp32 and fast on CPUs.
"""

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import NamedSharding


def uniform(fan_in: int):
    """U(±1/√fan_in): PyTorch's default for the kernels and biases of linear layers."""
    bound = 1.0 / math.sqrt(fan_in)
    return lambda key, shape: jax.random.uniform(key, shape, jnp.float32, -bound, bound)


def precision(dtype) -> jax.lax.Precision | None:
    """The precision of a product of factors of this dtype: all digits of fp32, else the default.

    By default a GPU rounds fp32 factors to TF32 (10 bits) and a TPU to bf16 (7 bits).
    """
    return jax.lax.Precision.HIGHEST if jnp.dtype(dtype) == jnp.float32 else None


class Linear(nnx.Module):
    """(…, I) → (…, O): x @ kernel + bias of factors in `dtype`; the parameters are fp32.

    `out_dtype`: of product, sum and result, `dtype` by default.
    `out_size` may be a tuple: then O is several axes. `zero` starts all parameters at zero.
    `layout`: (as kept, as used) shardings of the kernel: it is gathered, in `dtype`, where it is
    used, and its gradient, in fp32, goes back to where it is kept.
    """

    def __init__(
        self,
        in_size,
        out_size,
        *,
        rngs,
        dtype=jnp.float32,
        out_dtype=None,
        use_bias=True,
        zero=False,
        layout: tuple[NamedSharding, NamedSharding] | None = None,
    ):
        out_shape = out_size if isinstance(out_size, tuple) else (out_size,)
        init = nnx.initializers.zeros_init() if zero else uniform(in_size)
        self.kernel = nnx.Param(init(rngs.params(), (in_size, *out_shape)))
        self.bias = nnx.Param(init(rngs.params(), out_shape)) if use_bias else None
        self.dtype, self.out_dtype = dtype, dtype if out_dtype is None else out_dtype
        self.layout = layout

    def __call__(self, x):
        y = self.product(x)
        return y if self.bias is None else add_bias(y, self.bias[...])

    def product(self, x):
        """x @ kernel alone."""
        return _matmul(x.astype(self.dtype), self.kernel[...], self.out_dtype, self.layout)


def add_bias(product, bias):
    """product + bias, in the product's dtype; added, and its gradient summed, in fp32."""
    bias = bias.reshape((1,) * (product.ndim - bias.ndim) + bias.shape)
    return (product + bias).astype(product.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _matmul(x, kernel_IxO, out_dtype, layout):
    return _matmul_forward(x, kernel_IxO, out_dtype, layout)[0]


def _matmul_forward(x, kernel_IxO, out_dtype, layout):
    kernel_IxO = _as_used(kernel_IxO, x.dtype, layout)
    y = jnp.tensordot(
        x, kernel_IxO, axes=1, precision=precision(x.dtype), preferred_element_type=out_dtype
    )
    return y, (x, kernel_IxO)


def _matmul_backward(out_dtype, layout, residuals, dy):
    del out_dtype
    x, kernel_IxO = residuals
    dy = dy.astype(x.dtype)  # the factors of a product are alike, whatever its result is
    dkernel_IxO = jax.lax.platform_dependent(
        x,
        dy,
        cpu=lambda x, dy: _transpose_then_matmul(x, dy).reshape(kernel_IxO.shape),
        default=_sum_of_outer_products,
    )
    if layout is not None:
        dkernel_IxO = jax.lax.with_sharding_constraint(dkernel_IxO, layout[0])
    dy_axes = tuple(range(x.ndim - 1, dy.ndim))
    kernel_axes = tuple(range(1, kernel_IxO.ndim))
    dx = jnp.tensordot(dy, kernel_IxO, axes=(dy_axes, kernel_axes), precision=precision(dy.dtype))
    return dx, dkernel_IxO


_matmul.defvjp(_matmul_forward, _matmul_backward)


def _as_used(kernel, dtype, layout):
    """The kernel in `dtype`, gathered; a gathered one has a name, so that it can be kept."""
    kernel = kernel.astype(dtype)
    if layout is None:
        return kernel
    kept, used = layout
    kernel = jax.lax.with_sharding_constraint(kernel, used)
    return kernel if kept.is_equivalent_to(used, kernel.ndim) else checkpoint_name(kernel, "weight")


def _sum_of_outer_products(x, dy):
    """Σ xᵀ dy over all leading axes, as one product, so that each of them may be sharded: fp32."""
    leading = tuple(range(x.ndim - 1))
    return jax.lax.dot_general(
        x,
        dy,
        ((leading, leading), ((), ())),
        precision=precision(x.dtype),
        preferred_element_type=jnp.float32,
    )


def _transpose_then_matmul(x, dy):
    """`_sum_of_outer_products` for a CPU, (I, O), the narrower factor's transpose written out.

    XLA's fast CPU kernels do not take a contraction over leading axes: what it falls back on has
    half the speed where a width is a power of two. The barriers keep it from folding the transposes
    back into the product.
    """
    x_RxI, dy_RxO = x.reshape(-1, x.shape[-1]), dy.reshape(-1, math.prod(dy.shape[x.ndim - 1 :]))
    if x_RxI.shape[1] > dy_RxO.shape[1]:
        return jax.lax.optimization_barrier(_transpose_then_matmul(dy_RxO, x_RxI)).T
    x_IxR = jax.lax.optimization_barrier(x_RxI.T)
    return jnp.matmul(
        x_IxR, dy_RxO, precision=precision(x.dtype), preferred_element_type=jnp.float32
    )
