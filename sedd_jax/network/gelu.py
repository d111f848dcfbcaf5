"""GELU of a product and its bias, in its tanh form (Hendrycks & Gimpel 2016, arXiv:1606.08415).

Only the product is kept: what comes out of the matrix product is in memory anyhow.
"""

import jax
from flax import nnx

from sedd_jax.network.linear import add_bias


def _biased_gelu(product, bias):
    return nnx.gelu(add_bias(product, bias), approximate=True)


@jax.custom_vjp
def biased_gelu(product, bias):
    """x · Φ(x), approximately, of x = product + bias; in the dtype of the product."""
    return _biased_gelu(product, bias)


def _forward(product, bias):
    return _biased_gelu(product, bias), (product, bias)


def _backward(kept, dy):
    # Behind a barrier, since XLA would rather keep the sum and the tanh of the forward pass, two
    # more arrays of the size of the product to be written and read. A TPU's program does not, and
    # with a barrier it would copy the product out of the stack that a loop keeps.
    product, bias = kept
    product = jax.lax.platform_dependent(
        product, tpu=lambda x: x, default=jax.lax.optimization_barrier
    )
    return jax.vjp(_biased_gelu, product, bias)[1](dy)


biased_gelu.defvjp(_forward, _backward)
