import chex
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from sedd_jax.network.linear import Linear


@pytest.mark.parametrize("out_size", [4, 16, (3, 5)])  # narrower and wider than the input
def test_value_and_gradients_are_those_of_a_plain_product(out_size):
    layer = Linear(8, out_size, rngs=nnx.Rngs(0))
    graph, params = nnx.split(layer)
    x = jax.random.normal(jax.random.key(0), (2, 6, 8))

    def plain(params, x):
        y = jnp.tensordot(x, params["kernel"][...], 1)
        return y + params["bias"][...][None, None]

    def ours(params, x):
        return nnx.merge(graph, params)(x)

    results = (value_and_gradients(function, params, x) for function in (ours, plain))
    chex.assert_trees_all_close(*results, rtol=1e-5, atol=1e-5)


def value_and_gradients(function, params, x):
    y, gradient = jax.vjp(function, params, x)
    return y, gradient(jnp.sin(jnp.arange(y.size, dtype=jnp.float32)).reshape(y.shape))


def test_computes_in_the_given_dtype_from_fp32_parameters():
    layer = Linear(8, 4, rngs=nnx.Rngs(0), dtype=jnp.dtype("bfloat16"))
    assert layer.kernel[...].dtype == jnp.float32
    assert layer(jnp.ones((1, 8))).dtype == jnp.bfloat16
