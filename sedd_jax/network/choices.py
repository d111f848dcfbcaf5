"""The values that a network can be given: known without loading JAX."""

AUTOREGRESSIVE = "autoregressive"
MODEL_TYPES = ("diffusion", AUTOREGRESSIVE)
IMPLEMENTATIONS = ("auto", "xla", "cudnn", "splash", "loop")  # of attention

UNROLL = ("auto", "on", "off")

# What each policy keeps of a block for the backward pass, beside the block's input; the rest is
# computed anew. Element-wise work always is: it is cheaper than the memory it would fill. "weight":
# those that were gathered over devices, which would be gathered anew.
REMAT = {
    "none": ("norm", "qkv", "attention", "attn_out", "mlp_in", "mlp_out", "weight"),
    "dots": ("norm", "qkv", "attn_out", "mlp_in", "mlp_out"),
    "block": (),
}


def check_heads(width: int, num_heads: int) -> None:
    """Raises ValueError when a width does not split into heads that rotary embeddings can turn."""
    if width % num_heads or (width // num_heads) % 2:
        raise ValueError(
            f"model.width {width} must split into model.num_heads {num_heads} heads of even width"
        )
