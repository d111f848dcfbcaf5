"""Weights of the published PyTorch network under their state-dict names ↔ our parameters."""

import numpy as np

# our path below a block ↔ published name below `blocks.i.`
BLOCK_NAMES = {
    ("norm1", "scale"): "norm1.weight",
    ("attn_qkv", "kernel"): "attn_qkv.weight",
    ("attn_out", "kernel"): "attn_out.weight",
    ("norm2", "scale"): "norm2.weight",
    ("mlp_in", "kernel"): "mlp.0.weight",
    ("mlp_in", "bias"): "mlp.0.bias",
    ("mlp_out", "kernel"): "mlp.2.weight",
    ("mlp_out", "bias"): "mlp.2.bias",
    ("adaLN", "kernel"): "adaLN_modulation.weight",
    ("adaLN", "bias"): "adaLN_modulation.bias",
}
NAMES = {
    ("vocab_embed", "embedding"): "vocab_embed.embedding",
    ("sigma_map", "hidden", "kernel"): "sigma_map.mlp.0.weight",
    ("sigma_map", "hidden", "bias"): "sigma_map.mlp.0.bias",
    ("sigma_map", "out", "kernel"): "sigma_map.mlp.2.weight",
    ("sigma_map", "out", "bias"): "sigma_map.mlp.2.bias",
    ("output_layer", "norm_final", "scale"): "output_layer.norm_final.weight",
    ("output_layer", "linear", "kernel"): "output_layer.linear.weight",
    ("output_layer", "linear", "bias"): "output_layer.linear.bias",
    ("output_layer", "adaLN", "kernel"): "output_layer.adaLN_modulation.weight",
    ("output_layer", "adaLN", "bias"): "output_layer.adaLN_modulation.bias",
}


def _to_ours(path, weight):
    if path[-1] != "kernel":
        return weight
    kernel = weight.T
    return kernel.reshape(kernel.shape[0], 3, -1) if path[0] == "attn_qkv" else kernel


def to_params(state_dict: dict) -> dict:
    """Published state dict (arrays by name) → nested dict of fp32 arrays, blocks stacked."""
    flat = {path: _to_ours(path, np.asarray(state_dict[name])) for path, name in NAMES.items()}
    num_blocks = sum(name.endswith(".attn_qkv.weight") for name in state_dict)
    for path, name in BLOCK_NAMES.items():
        weights = [np.asarray(state_dict[f"blocks.{i}.{name}"]) for i in range(num_blocks)]
        flat[("blocks", *path)] = np.stack([_to_ours(path, weight) for weight in weights])
    params: dict = {}
    for path, array in flat.items():
        node = params
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = np.ascontiguousarray(array, dtype=np.float32)
    return params
