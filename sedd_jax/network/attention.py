"""Attention by name, over all positions or over those up to each one's own.

B batch, L length, S length of the keys, H heads, K head width.
"""

import contextlib
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from sedd_jax.network.choices import IMPLEMENTATIONS
from sedd_jax.network.linear import precision
from sedd_jax.parallel.mesh import activation_spec

LANES = 128  # of a TPU's vector unit: splash attention takes lengths that are a multiple


def attention(
    q_BxLxHxK,
    k_BxLxHxK,
    v_BxLxHxK,
    implementation: str,
    mesh: Mesh | None = None,
    *,
    causal: bool = False,
):
    """softmax(q kᵀ / √K) v over all positions, the softmax in fp32: (B, L, H, K).

    implementation:
      xla     jax.nn.dot_product_attention, lowered by XLA: any device
      cudnn   the same by cuDNN's flash attention: 16-bit inputs on a GPU
      splash  Pallas' flash attention for TPUs: L a multiple of 128; a CPU interprets it, for tests;
              a TPU rounds its factors to bf16, whatever the inputs are
      loop    one row and head after another, for one CPU: no array larger than (L, L), none kept
      auto    splash, cudnn or loop where they apply, else xla
    mesh: rows are split over data × fsdp and heads over tensor; None: one device.
    causal: a position attends to itself and to those before it.
    Raises ValueError for an unknown name.
    """
    platform = jax.default_backend() if mesh is None else mesh.devices.flat[0].platform
    if implementation == "auto":
        num_devices = 1 if mesh is None else mesh.size
        implementation = best_implementation(
            platform, num_devices, v_BxLxHxK.dtype, v_BxLxHxK.shape[1]
        )
    if implementation == "xla":
        # It takes no precision of its own, and has one for 16-bit inputs.
        whole = precision(v_BxLxHxK.dtype) is not None
        with jax.default_matmul_precision("highest") if whole else contextlib.nullcontext():
            o_BxLxHxK = jax.nn.dot_product_attention(
                q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, is_causal=causal, implementation="xla"
            )
        return checkpoint_name(o_BxLxHxK, "attention")
    functions: dict[str, Callable[..., jax.Array]] = {
        "cudnn": functools.partial(_cudnn_attention, causal=causal),
        "splash": functools.partial(_splash_attention, interpret=platform != "tpu", causal=causal),
        "loop": lambda q, k, v: _loop_attention(q, k, v, causal),
    }
    if implementation not in functions:
        raise ValueError(f"attention {implementation!r} is not one of {IMPLEMENTATIONS}")
    function = functions[implementation]
    if mesh is not None and mesh.size > 1:
        # Kernels are opaque to XLA's partitioner: each device runs its own rows and heads.
        spec = activation_spec("heads")
        function = jax.shard_map(
            function, mesh=mesh, in_specs=(spec,) * 3, out_specs=spec, check_vma=False
        )
    return function(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)


def best_implementation(platform: str, num_devices: int, dtype, length: int) -> str:
    """The implementation that `auto` stands for."""
    is_half = jnp.dtype(dtype).itemsize == 2
    if platform == "tpu" and is_half and length % LANES == 0:
        return "splash"
    if platform == "gpu" and is_half:
        return "cudnn"
    if platform == "cpu" and num_devices == 1:
        return "loop"
    return "xla"


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _cudnn_attention(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, causal: bool):
    return jax.nn.dot_product_attention(
        q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, is_causal=causal, implementation="cudnn"
    )


def _cudnn_forward(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, causal: bool):
    """The output, and what JAX's own rule keeps for the gradient: it does not name its log-sums.

    Without a name they would not be kept by a checkpoint, and attention would be computed twice.
    """
    inputs = (q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)
    own = functools.partial(jax.nn.dot_product_attention, is_causal=causal, implementation="cudnn")
    arrays, tree = jax.tree.flatten(jax.vjp(own, *inputs))
    named = {id(x): x for x in inputs}
    for x in arrays:
        if id(x) not in named:
            named[id(x)] = checkpoint_name(x, "attention")
    return jax.tree.unflatten(tree, [named[id(x)] for x in arrays])


_cudnn_attention.defvjp(_cudnn_forward, lambda causal, gradient, do_BxLxHxK: gradient(do_BxLxHxK))


def _splash_attention(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, *, interpret: bool, causal: bool):
    from jax.experimental.pallas.ops.tpu import splash_attention as splash  # slow to import

    length, heads, head_width = q_BxLxHxK.shape[1:]
    block = next(size for size in (512, 256, LANES) if length % size == 0)
    mask = (splash.CausalMask if causal else splash.FullMask)((length, length))
    kernel = splash.make_splash_mha_single_device(
        splash.MultiHeadMask([mask] * heads),
        block_sizes=splash.BlockSizes(
            block_q=block,
            block_kv=block,
            block_q_dkv=block,
            block_kv_dkv=block,
            block_kv_dkv_compute=block,
            use_fused_bwd_kernel=True,
        ),
        residual_checkpoint_name="attention",
        interpret=interpret,
    )
    scale = jnp.asarray(head_width**-0.5, q_BxLxHxK.dtype)
    q, k, v = (x.swapaxes(1, 2) for x in (q_BxLxHxK * scale, k_BxLxHxK, v_BxLxHxK))
    return jax.vmap(kernel)(q, k, v).swapaxes(1, 2)


def _by_head(function, *arrays):
    """The function applied to one row and head of arrays (B, L, H, ·) after another."""
    batch, _, heads = arrays[0].shape[:3]
    pieces = [x.swapaxes(1, 2).reshape(batch * heads, x.shape[1], *x.shape[3:]) for x in arrays]
    outputs = jax.lax.map(lambda piece: function(*piece), pieces)
    return jax.tree.map(lambda x: x.reshape(batch, heads, *x.shape[1:]).swapaxes(1, 2), outputs)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _loop_attention(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, causal):
    forward = functools.partial(_head_forward, causal)
    return _by_head(forward, q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)[0]


def _loop_forward(q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, causal):
    forward = functools.partial(_head_forward, causal)
    output = _by_head(forward, q_BxLxHxK, k_BxLxHxK, v_BxLxHxK)
    o_BxLxHxK, log_sum_BxLxH = checkpoint_name(output, "attention")
    return o_BxLxHxK, (q_BxLxHxK, k_BxLxHxK, v_BxLxHxK, o_BxLxHxK, log_sum_BxLxH)


def _loop_backward(causal, residuals, do_BxLxHxK):
    return _by_head(functools.partial(_head_backward, causal), *residuals, do_BxLxHxK)


_loop_attention.defvjp(_loop_forward, _loop_backward)


def _matmul(a, b):
    return jnp.matmul(a, b, precision=precision(a.dtype), preferred_element_type=jnp.float32)


def _head_forward(causal, q_LxK, k_SxK, v_SxK):
    """Attention of one head, and the logarithm of each query's softmax denominator."""
    s_LxS = _matmul(q_LxK * q_LxK.shape[-1] ** -0.5, k_SxK.T)
    if causal:
        s_LxS = jnp.where(jnp.tri(*s_LxS.shape, dtype=bool), s_LxS, -jnp.inf)
    top_Lx1 = s_LxS.max(axis=-1, keepdims=True)
    e_LxS = jnp.exp(s_LxS - top_Lx1)
    sum_Lx1 = e_LxS.sum(axis=-1, keepdims=True)
    o_LxK = _matmul(e_LxS.astype(v_SxK.dtype), v_SxK) / sum_Lx1
    return o_LxK.astype(v_SxK.dtype), (top_Lx1 + jnp.log(sum_Lx1))[:, 0]


def _head_backward(causal, q_LxK, k_SxK, v_SxK, o_LxK, log_sum_L, do_LxK):
    """Gradients of q, k, v with the probabilities computed anew.

    They are laid out keys first: then no product contracts the leading axis of an L×L array,
    which XLA does at half the speed on a CPU.
    """
    dtype, scale = q_LxK.dtype, q_LxK.shape[-1] ** -0.5
    q_LxK = q_LxK * scale
    p_SxL = jnp.exp(_matmul(k_SxK, q_LxK.T) - log_sum_L[None, :])
    if causal:
        p_SxL = jnp.where(jnp.tri(*p_SxL.shape[::-1], dtype=bool).T, p_SxL, 0.0)
    dv_SxK = _matmul(p_SxL.astype(dtype), do_LxK)
    inner_L = (o_LxK.astype(jnp.float32) * do_LxK).sum(axis=-1)
    ds_SxL = (p_SxL * (_matmul(v_SxK, do_LxK.T) - inner_L[None, :])).astype(dtype)
    dq_KxL = _matmul(k_SxK.T, ds_SxL) * scale
    dk_SxK = _matmul(ds_SxL, q_LxK)
    return dq_KxL.T.astype(dtype), dk_SxK.astype(dtype), dv_SxK.astype(dtype)
