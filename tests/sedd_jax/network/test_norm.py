"""The modulated norm's own gradient against that of its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.network import norm as norm_lib
from sedd_jax.network.norm import LAYER_NORM_EPS, ModulatedNorm

B, L, D = 3, 5, 32


def formula(x_BxLxD, weight_D, shift_Bx1xD, scale_Bx1xD):
    """As DiT writes it, differentiated by JAX."""
    x_BxLxD = x_BxLxD.astype(jnp.float32)
    centred_BxLxD = x_BxLxD - x_BxLxD.mean(axis=-1, keepdims=True)
    variance_BxLx1 = jnp.square(centred_BxLxD).mean(axis=-1, keepdims=True)
    normed_BxLxD = centred_BxLxD * jax.lax.rsqrt(variance_BxLx1 + LAYER_NORM_EPS)
    normed_BxLxD = normed_BxLxD * weight_D[None, None, :]
    return normed_BxLxD * (1 + scale_Bx1xD) + shift_Bx1xD


def module(x_BxLxD, weight_D, shift_Bx1xD, scale_Bx1xD, dtype=jnp.float32):
    norm = ModulatedNorm(D)
    norm.scale[...] = weight_D
    return norm(x_BxLxD, shift_Bx1xD, scale_Bx1xD, dtype)


@pytest.fixture
def arrays():
    """x with a mean of 3, weight, shift and scale, and a gradient of the output."""
    rng = np.random.default_rng(0)
    shapes = (B, L, D), (D,), (B, 1, D), (B, 1, D), (B, L, D)
    x, weight, *others = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    return 2 * x + 3, 1 + 0.3 * weight, *others


def test_gradients_are_those_of_the_formula(arrays):
    *arguments, dy_BxLxD = arrays
    expected, pull = jax.vjp(formula, *arguments)
    got, own_pull = jax.vjp(module, *arguments)
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(jax.jit(module)(*arguments), jax.jit(formula)(*arguments))
    for own, theirs in zip(own_pull(dy_BxLxD), pull(dy_BxLxD), strict=True):
        assert own.shape == theirs.shape
        np.testing.assert_allclose(own, theirs, rtol=1e-5, atol=1e-5)


def test_in_bf16_only_what_goes_in_and_out_is_rounded(arrays):
    *arguments, dy_BxLxD = arrays
    arguments[0] = arguments[0].astype(jnp.bfloat16)
    dy_BxLxD = dy_BxLxD.astype(jnp.bfloat16)
    got, own_pull = jax.vjp(lambda *given: module(*given, dtype=jnp.bfloat16), *arguments)
    assert got.dtype == jnp.bfloat16
    expected, pull = jax.vjp(formula, *arguments)
    np.testing.assert_array_equal(got, expected.astype(jnp.bfloat16))
    own, theirs = own_pull(dy_BxLxD), pull(dy_BxLxD.astype(jnp.float32))
    assert own[0].dtype == jnp.bfloat16
    for ours, exact in zip(own[1:], theirs[1:], strict=True):  # sums over positions: in fp32
        assert ours.dtype == jnp.float32
        np.testing.assert_allclose(ours, exact, rtol=1e-5, atol=1e-5)


def test_each_platform_has_the_same_gradients(arrays):
    *arguments, dy_BxLxD = arrays
    _, residuals = norm_lib._forward(*arguments, jnp.float32)
    ours = norm_lib._gradients(norm_lib._sums, *residuals, dy_BxLxD)
    of_a_gpu = norm_lib._gradients(norm_lib._sums_in_one_pass, *residuals, dy_BxLxD)
    of_a_tpu = norm_lib._gradients_by_autodiff(jnp.float32, *residuals, dy_BxLxD)
    for theirs in (of_a_gpu, of_a_tpu):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
            assert a.dtype == b.dtype
