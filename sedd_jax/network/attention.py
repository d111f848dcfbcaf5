"""Bidirectional attention by name. B batch, L length, M length (of keys), H heads, K head width."""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

IMPLEMENTATIONS = ("auto", "xla", "cudnn", "loop")


def attention(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, implementation: str):
    """softmax(q kᵀ / √K) v over all positions, the softmax in fp32: (B, L, H, K).

    implementation:
      xla    jax.nn.dot_product_attention, lowered by XLA: any device, any sharding
      cudnn  the same by cuDNN's flash attention: 16-bit inputs on a GPU
      loop   one row and head after another, for one CPU: no array larger than (L, L), none kept
      auto   cudnn or loop where they apply, else xla
    Raises ValueError for an unknown name.
    """
    if implementation == "auto":
        implementation = _best_implementation(v_BxLxHxK.dtype)
    if implementation == "loop":
        return _loop_attention(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)
    if implementation in ("xla", "cudnn"):
        o_BxLxHxK = jax.nn.dot_product_attention(
            q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, implementation=implementation
        )
        return checkpoint_name(o_BxLxHxK, "attention")
    raise ValueError(f"attention {implementation!r} is not one of {IMPLEMENTATIONS}")


def _best_implementation(dtype) -> str:
    if jax.default_backend() == "gpu" and dtype != jnp.float32:
        return "cudnn"
    if jax.default_backend() == "cpu" and jax.device_count() == 1:
        return "loop"
    return "xla"


def _by_head(function, *arrays):
    """function over (L, K) pieces, one row and head at a time, of arrays (B, L, H, ·)."""
    batch, _, heads = arrays[0].shape[:3]
    pieces = [x.swapaxes(1, 2).reshape(batch * heads, x.shape[1], *x.shape[3:]) for x in arrays]
    outputs = jax.lax.map(lambda piece: function(*piece), pieces)
    return jax.tree.map(lambda x: x.reshape(batch, heads, *x.shape[1:]).swapaxes(1, 2), outputs)


@jax.custom_vjp
def _loop_attention(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK):
    return _by_head(_head_forward, q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)[0]


def _loop_forward(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK):
    output = _by_head(_head_forward, q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)
    o_BxLxHxK, log_sum_BxLxH = checkpoint_name(output, "attention")
    return o_BxLxHxK, (q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, o_BxLxHxK, log_sum_BxLxH)


def _loop_backward(residuals, do_BxLxHxK):
    return _by_head(_head_backward, *residuals, do_BxLxHxK)


_loop_attention.defvjp(_loop_forward, _loop_backward)

_matmul = functools.partial(jnp.matmul, preferred_element_type=jnp.float32)


def _head_forward(q_LxK, k_MxK, v_MxK):
    """Attention of one head, and the logarithm of each query's softmax denominator."""
    s_LxM = _matmul(q_LxK * q_LxK.shape[-1] ** -0.5, k_MxK.T)
    top_Lx1 = s_LxM.max(axis=-1, keepdims=True)
    e_LxM = jnp.exp(s_LxM - top_Lx1)
    sum_Lx1 = e_LxM.sum(axis=-1, keepdims=True)
    o_LxK = _matmul(e_LxM.astype(v_MxK.dtype), v_MxK) / sum_Lx1
    return o_LxK.astype(v_MxK.dtype), (top_Lx1 + jnp.log(sum_Lx1))[:, 0]


def _head_backward(q_LxK, k_MxK, v_MxK, o_LxK, log_sum_L, do_LxK):
    """Gradients of q, k, v with the probabilities computed anew.

    They are laid out keys first: then no product contracts the leading axis of an L×L array,
    which XLA does at half the speed on a CPU.
    """
    dtype, scale = q_LxK.dtype, q_LxK.shape[-1] ** -0.5
    q_LxK = q_LxK * scale
    p_MxL = jnp.exp(_matmul(k_MxK, q_LxK.T) - log_sum_L[None, :])
    dv_MxK = _matmul(p_MxL.astype(dtype), do_LxK)
    inner_L = (o_LxK.astype(jnp.float32) * do_LxK).sum(axis=-1)
    ds_MxL = (p_MxL * (_matmul(v_MxK, do_LxK.T) - inner_L[None, :])).astype(dtype)
    dq_KxL = _matmul(k_MxK.T, ds_MxL) * scale
    dk_MxK = _matmul(ds_MxL, q_LxK)
    return dq_KxL.T.astype(dtype), dk_MxK.astype(dtype), dv_MxK.astype(dtype)
