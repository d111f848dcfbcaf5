"""GELU in its tanh form (Hendrycks & Gimpel 2016, arXiv:1606.08415): only its input is kept."""

import functools

import jax
from flax import nnx

_gelu = functools.partial(nnx.gelu, approximate=True)


@jax.custom_vjp
def gelu(x):
    """x · Φ(x), approximately; in the dtype of x."""
    return _gelu(x)


def _forward(x):
    return _gelu(x), x


def _backward(x, dy):
    # Behind a barrier, since XLA would rather keep the tanh of the forward pass, another array of
    # the size of x to be written and read.
    return jax.vjp(_gelu, jax.lax.optimization_barrier(x))[1](dy)


gelu.defvjp(_forward, _backward)
