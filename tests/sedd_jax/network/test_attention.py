import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.network.attention import attention, best_implementation
from sedd_jax.parallel.mesh import AXES, make_mesh

B, L, H, K = 2, 24, 3, 8


def plain_attention(q, k, v, causal=False):
    scores_BxHxLxM = jnp.einsum("blhk,bmhk->bhlm", q, k) / K**0.5
    if causal:
        scores_BxHxLxM += jnp.triu(jnp.full(scores_BxHxLxM.shape[-2:], -jnp.inf), 1)[None, None]
    return jnp.einsum("bhlm,bmhk->blhk", jax.nn.softmax(scores_BxHxLxM), v)


def random_inputs(scale=1.0):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(B, L, H, K)) * scale, jnp.float32) for _ in range(4)]


def outputs_and_gradients(function, q, k, v, do):
    o, gradient = jax.vjp(function, q, k, v)
    return o, *gradient(do)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("implementation", ["auto", "xla", "loop"])
@pytest.mark.parametrize(
    ("scale", "tolerance"),
    [(1.0, 1e-5), (6.0, 1e-4)],  # 6: scores whose exp overflows
)
def test_equals_the_formula(implementation, scale, tolerance, causal):
    q, k, v, do = random_inputs(scale)
    ours = outputs_and_gradients(
        lambda *x: attention(*x, implementation, causal=causal), q, k, v, do
    )
    wanted = outputs_and_gradients(functools.partial(plain_attention, causal=causal), q, k, v, do)
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance * np.abs(b).max())


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mesh_shape", [None, (2, 2, 2)])
def test_splash_equals_the_formula(mesh_shape, causal):
    """Interpreted: the very kernel that a TPU compiles."""
    mesh = mesh_shape and make_mesh(dict(zip(AXES, mesh_shape, strict=True)))
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(4, 256, 2, K)).astype(np.float32) for _ in range(4)]

    def splash(q, k, v):
        return attention(q, k, v, "splash", mesh, causal=causal)

    plain = functools.partial(plain_attention, causal=causal)
    ours = jax.jit(functools.partial(outputs_and_gradients, splash))(*inputs)
    wanted = jax.jit(functools.partial(outputs_and_gradients, plain))(*inputs)
    for a, b in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * np.abs(b).max())


def test_auto_takes_the_best_kernel():
    assert best_implementation("tpu", 16, jnp.bfloat16, 1024) == "splash"
    assert best_implementation("tpu", 16, jnp.bfloat16, 1000) == "xla"
    assert best_implementation("tpu", 16, jnp.float32, 1024) == "xla"
    assert best_implementation("gpu", 16, jnp.bfloat16, 1000) == "cudnn"
    assert best_implementation("gpu", 16, jnp.float32, 1024) == "xla"
    assert best_implementation("cpu", 1, jnp.float32, 1024) == "loop"
    assert best_implementation("cpu", 8, jnp.float32, 1024) == "xla"


def test_loop_in_bf16_is_near_fp32():
    q, k, v, do = random_inputs()
    exact = outputs_and_gradients(plain_attention, q, k, v, do)
    half = [x.astype(jnp.bfloat16) for x in (q, k, v, do)]
    rounded = outputs_and_gradients(lambda *x: attention(*x, "loop"), *half)
    for a, b in zip(rounded, exact, strict=True):
        assert a.dtype == jnp.bfloat16
        assert np.abs(a.astype(jnp.float32) - b).max() < 0.03 * np.abs(b).max()


def test_loop_keeps_no_probabilities():
    q = jnp.zeros((4, 256, 4, 8))
    all_heads_bytes = 4 * 4 * 256 * 256 * 4

    def temporaries(implementation):
        def gradients(q, k, v, do):
            return jax.vjp(lambda *x: attention(*x, implementation), q, k, v)[1](do)

        compiled = jax.jit(gradients).lower(q, q, q, q).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries("loop") < all_heads_bytes < temporaries("xla")


def test_unknown_name_is_refused():
    with pytest.raises(ValueError, match="'fast' is not one of"):
        attention(*random_inputs()[:3], "fast")
