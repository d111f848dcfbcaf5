"""The GELU's own gradient against that of its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from sedd_jax.network.gelu import biased_gelu


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 3e-5), (jnp.bfloat16, 1e-2)])
def test_value_and_gradients_are_those_of_the_formula(dtype, tolerance):
    keys = jax.random.split(jax.random.key(0), 3)
    product, dy = (3 * jax.random.normal(key, (2, 5, 8)).astype(dtype) for key in keys[:2])
    bias = jax.random.normal(keys[2], (8,))

    def formula(product, bias):
        return nnx.gelu((product + bias[None, None, :]).astype(dtype), approximate=True)

    def value_and_gradients(function):
        y, pull = jax.vjp(function, product, bias)
        return y, *pull(dy)

    ours, theirs = (
        jax.jit(value_and_gradients, static_argnums=0)(f) for f in (biased_gelu, formula)
    )
    assert [x.dtype for x in ours] == [dtype, dtype, jnp.float32]
    for a, b in zip(ours, theirs, strict=True):
        a, b = (np.asarray(x, np.float32) for x in (a, b))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
