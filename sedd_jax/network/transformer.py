"""The SEDD network: a diffusion transformer over tokens, conditioned on the noise level.

Lou, Meng & Ermon 2024 (arXiv:2310.16834), with the blocks of DiT (Peebles & Xie 2023).
B batch, L length, V vocabulary with mask, D width, H heads, K head width, M MLP width,
C condition width, N blocks.

On a mesh, `lay_out` says where activations live: between blocks positions are split over `tensor`,
inside a block heads and the MLP's width are; the batch is split over data × fsdp throughout.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh

from sedd_jax.network import condition as condition_lib
from sedd_jax.network.attention import attention
from sedd_jax.network.choices import REMAT, check_heads
from sedd_jax.network.dropout import dropout, keep_masks
from sedd_jax.network.gelu import biased_gelu
from sedd_jax.network.linear import Linear, add_bias, uniform
from sedd_jax.network.norm import ModulatedNorm
from sedd_jax.network.rotary import rotary_tables, rotate
from sedd_jax.parallel.mesh import lay_out, reshard, weight_layout

MLP_RATIO = 4
SIGMA_FREQUENCIES = 256
SIGMA_MAX_PERIOD = 10_000.0


@dataclasses.dataclass(frozen=True)
class NetworkConfig:
    """Size and execution of a network; hashable, so that programs can be cached by it.

    unroll: a program in which every block stands by itself, instead of a loop over them: longer to
    compile, but with no copies of what is kept for the backward pass.
    mesh: of the devices that it runs on; None: the default device. is_told_sigma: whether the
    noise level is among what it is conditioned on.
    """

    vocab_size: int
    length: int
    width: int
    num_blocks: int
    num_heads: int
    cond_dim: int
    dropout: float = 0.1
    is_told_sigma: bool = True
    compute_dtype: str = "float32"
    residual_dtype: str = "float32"
    remat: str = "none"
    unroll: bool = False
    attention: str = "auto"
    mesh: Mesh | None = None
    causal: bool = False  # a position sees itself and those before it alone
    num_tags: int = 0  # without these and
    vectors: tuple[tuple[str, int], ...] = ()  # kinds and widths, the network takes no condition

    def __post_init__(self):
        check_heads(self.width, self.num_heads)
        if self.remat not in REMAT:
            raise ValueError(f"remat {self.remat!r} is not one of {tuple(REMAT)}")

    @property
    def head_width(self) -> int:
        return self.width // self.num_heads


class SigmaEmbedder(nnx.Module):
    """Noise level (B,) → (B, C): sinusoids of σ through a two-layer SiLU MLP."""

    def __init__(self, config: NetworkConfig, rngs: nnx.Rngs):
        self.hidden = Linear(SIGMA_FREQUENCIES, config.cond_dim, rngs=rngs)
        self.out = Linear(config.cond_dim, config.cond_dim, rngs=rngs)

    def __call__(self, sigma_B):
        half = SIGMA_FREQUENCIES // 2
        frequency_F = jnp.exp(-math.log(SIGMA_MAX_PERIOD) * jnp.arange(half) / half)
        angle_BxF = sigma_B[:, None].astype(jnp.float32) * frequency_F[None, :]
        waves_Bx2F = jnp.concatenate([jnp.cos(angle_BxF), jnp.sin(angle_BxF)], axis=-1)
        return self.out(nnx.silu(self.hidden(waves_Bx2F)))


class Constant(nnx.Module):
    """A learnt vector (C,), as large at first as a noise level's embedding, in the place of that.

    Tags and vectors are added to it. Without it their embedding, zero at the start, and the layers
    that read it, zero too, would never have a gradient.
    """

    def __init__(self, config: NetworkConfig, rngs: nnx.Rngs):
        self.value = nnx.Param(uniform(16)(rngs.params(), (config.cond_dim,)))

    def __call__(self, sigma_B):
        """The same for every row, (B, C), whatever its noise level."""
        return jnp.broadcast_to(self.value[...], (*sigma_B.shape, *self.value.shape))


class Block(nnx.Module):
    """One DiT block: attention and MLP, each modulated and gated by the condition (adaLN)."""

    def __init__(self, config: NetworkConfig, rngs: nnx.Rngs):
        width, dtype = config.width, jnp.dtype(config.compute_dtype)

        def linear(name, *sizes, dtype=dtype, **options):
            layout = weight_layout(config.mesh, f"blocks/{name}/kernel")
            return Linear(*sizes, rngs=rngs, dtype=dtype, layout=layout, **options)

        self.norm1 = ModulatedNorm(width)
        self.attn_qkv = linear("attn_qkv", width, (3, width), use_bias=False)
        self.attn_out = linear("attn_out", width, width, use_bias=False)
        self.norm2 = ModulatedNorm(width)
        self.mlp_in = linear("mlp_in", width, MLP_RATIO * width)
        self.mlp_out = linear("mlp_out", MLP_RATIO * width, width)
        self.adaLN = linear("adaLN", config.cond_dim, 6 * width, dtype=jnp.float32, zero=True)
        self.config, self.dtype = config, dtype

    def __call__(self, x_BxLxD, cond_BxC, rotary, keep, attend=None):
        """attend: (q, k, v) → (B, L, H, K), in the place of the config's attention."""
        config = self.config
        heads_shape = (*x_BxLxD.shape[:2], config.num_heads, config.head_width)
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(
            self.adaLN(cond_BxC)[:, None, :], 6, axis=-1
        )  # each (B, 1, D)

        y_BxLxD = self._gather(self.norm1(x_BxLxD, shift1, scale1, self.dtype))
        qkv_BxLx3xD = lay_out(config.mesh, self.attn_qkv(y_BxLxD), "qkv")
        q, k, v = (qkv_BxLx3xD[:, :, i].reshape(heads_shape) for i in range(3))
        q, k, v = checkpoint_name((rotate(q, *rotary), rotate(k, *rotary), v), "qkv")
        if attend is None:
            y_BxLxHxK = attention(q, k, v, config.attention, config.mesh, causal=config.causal)
        else:
            y_BxLxHxK = attend(q, k, v)
        y_BxLxD = self._scatter(self.attn_out(y_BxLxHxK.reshape(x_BxLxD.shape)))
        y_BxLxD = checkpoint_name(y_BxLxD, "attn_out")
        x_BxLxD = self._add(x_BxLxD, gate1, dropout(y_BxLxD, keep[0], config.dropout))

        y_BxLxD = self._gather(self.norm2(x_BxLxD, shift2, scale2, self.dtype))
        # Products are kept, not their sums with a bias: those are one more array to write.
        h_BxLxM = lay_out(config.mesh, self.mlp_in.product(y_BxLxD), "hidden")
        h_BxLxM = biased_gelu(checkpoint_name(h_BxLxM, "mlp_in"), self.mlp_in.bias[...])
        y_BxLxD = checkpoint_name(self._scatter(self.mlp_out.product(h_BxLxM)), "mlp_out")
        y_BxLxD = add_bias(y_BxLxD, self.mlp_out.bias[...])
        return self._add(x_BxLxD, gate2, dropout(y_BxLxD, keep[1], config.dropout))

    def _add(self, x_BxLxD, gate_Bx1xD, y_BxLxD):
        """The residual stream with a gated branch added in fp32, in the dtype that it has."""
        return (x_BxLxD + gate_Bx1xD * y_BxLxD).astype(x_BxLxD.dtype)

    def _gather(self, y_BxLxD):
        """Gathers all positions, which were split over `tensor`."""
        return lay_out(self.config.mesh, y_BxLxD, "block_input", "residual")

    def _scatter(self, y_BxLxD):
        """Adds the partial sums over `tensor` and splits their positions over it."""
        return lay_out(self.config.mesh, y_BxLxD, "residual", "block_input")


class OutputLayer(nnx.Module):
    """Final modulated norm and the head: (B, L, D) → (B, L, V) in fp32. Starts at zero."""

    def __init__(self, config: NetworkConfig, rngs: nnx.Rngs):
        self.norm_final = ModulatedNorm(config.width)
        self.adaLN = Linear(config.cond_dim, 2 * config.width, rngs=rngs, zero=True)
        self.linear = Linear(
            config.width,
            config.vocab_size,
            rngs=rngs,
            dtype=jnp.dtype(config.compute_dtype),
            out_dtype=jnp.dtype(jnp.float32),
            zero=True,
            layout=weight_layout(config.mesh, "output_layer/linear/kernel"),
        )
        self.mesh = config.mesh

    def __call__(self, x_BxLxD, cond_BxC):
        shift, scale = jnp.split(self.adaLN(cond_BxC)[:, None, :], 2, axis=-1)  # each (B, 1, D)
        y_BxLxD = self.norm_final(x_BxLxD, shift, scale, self.linear.dtype)
        return lay_out(self.mesh, self.linear(y_BxLxD), "logits")


class VocabEmbedding(nnx.Module):
    """Tokens (B, L) → (B, L, D)."""

    def __init__(self, config: NetworkConfig, rngs: nnx.Rngs):
        shape = (config.vocab_size, config.width)
        self.embedding = nnx.Param(uniform(config.width)(rngs.params(), shape))
        self.mesh, self.dtype = config.mesh, jnp.dtype(config.residual_dtype)

    def __call__(self, x_BxL):
        embedding_VxD = self.embedding[...]
        if layout := weight_layout(self.mesh, "vocab_embed/embedding"):
            kept, used = layout
            # Backward, the second is first: each device adds its rows to a whole gradient, and the
            # sum of those is split. Left to choose, XLA would rather replicate the rows.
            embedding_VxD = reshard(reshard(embedding_VxD, used, kept), used, used)
        return lay_out(self.mesh, embedding_VxD[x_BxL].astype(self.dtype), "residual")


MODULES = {
    "vocab_embed": VocabEmbedding,
    "sigma_map": SigmaEmbedder,
    "constant": Constant,
    "blocks": Block,
    "output_layer": OutputLayer,
}


def _left_out(config: NetworkConfig) -> str:
    """The module that the network does without."""
    return "constant" if config.is_told_sigma else "sigma_map"


@functools.cache
def _graphdef(config: NetworkConfig, name: str) -> nnx.GraphDef:
    return nnx.graphdef(nnx.eval_shape(lambda: MODULES[name](config, nnx.Rngs(0))))


def module(config: NetworkConfig, name: str, params) -> nnx.Module:
    """The module of a name of MODULES with these parameters."""
    return nnx.merge(_graphdef(config, name), params)


def sigma_map_shapes(config: NetworkConfig) -> dict:
    """Shapes and dtypes of the parameters of "sigma_map", even for a network without it."""
    return nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: SigmaEmbedder(config, nnx.Rngs(0)))))


def init_params(config: NetworkConfig, key) -> dict:
    """Fresh parameters: nested dict of fp32 arrays, those of the blocks stacked on axis 0 (N).

    Distributions of the published network: U(±1/√fan_in) for linear layers and the embedding,
    zero for every adaLN, the head and what a condition is embedded with.
    """

    def init(name, key):
        return nnx.to_pure_dict(nnx.state(MODULES[name](config, nnx.Rngs(key))))

    names = [name for name in MODULES if name != _left_out(config)]
    keys = dict(zip(names, jax.random.split(key, len(names)), strict=True))
    block_keys_N = jax.random.split(keys.pop("blocks"), config.num_blocks)
    params = {name: init(name, key) for name, key in keys.items()}
    if config.num_tags or config.vectors:
        params["condition"] = condition_lib.init_params(
            config.num_tags, dict(config.vectors), config.cond_dim
        )
    return params | {"blocks": jax.vmap(functools.partial(init, "blocks"))(block_keys_N)}


def embed_condition(config, params, sigma_B, condition=None):
    """What all blocks are told beside the tokens: the noise level and a condition, (B, C) fp32."""
    name = "sigma_map" if config.is_told_sigma else "constant"
    cond_BxC = module(config, name, params[name])(sigma_B)
    if condition is not None:
        cond_BxC = cond_BxC + condition_lib.embed(params["condition"], condition)
    return nnx.silu(cond_BxC)


def output(config, params, x_BxL, sigma_B, *, dropout_key_B=None, condition=None):
    """The output (B, L, V) fp32, whose meaning is sedd_jax/diffusion/parametrisation.py's.

    x_BxL: tokens; sigma_B: total noise; dropout_key_B: typed keys, one a row: None turns dropout
    off; condition: see sedd_jax/conditions.py, None for none.
    """
    x_BxLxD = module(config, "vocab_embed", params["vocab_embed"])(x_BxL)
    cond_BxC = embed_condition(config, params, sigma_B, condition)
    rotary = rotary_tables(x_BxL.shape[1], config.head_width)
    drop = dropout_key_B is not None and config.dropout > 0

    def block(x_BxLxD, params_and_index):
        params, index = params_and_index
        keep = (None, None)
        if drop:
            keep = keep_masks(dropout_key_B, index, *x_BxLxD.shape[1:], config.dropout)
        return module(config, "blocks", params)(x_BxLxD, cond_BxC, rotary, keep), None

    keep = jax.checkpoint_policies.save_only_these_names(*REMAT[config.remat])
    # Outside of a loop, XLA would find that what is to be computed anew is there already.
    prevent_cse = config.unroll and config.remat != "none"
    block = jax.checkpoint(block, prevent_cse=prevent_cse, policy=keep)
    blocks = (params["blocks"], jnp.arange(config.num_blocks))
    x_BxLxD, _ = jax.lax.scan(block, x_BxLxD, blocks, unroll=config.unroll)

    return module(config, "output_layer", params["output_layer"])(x_BxLxD, cond_BxC)
