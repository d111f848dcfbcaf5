"""Weights of the published PyTorch network (Lou, Meng & Ermon 2024, arXiv:2310.16834) ↔ ours."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sedd_jax.errors import UserError
from sedd_jax.weights import torch_files

# our path ↔ published name; below a block, the published name follows `blocks.I.`
NAMES = {
    ("vocab_embed", "embedding"): "vocab_embed.embedding",
    ("sigma_map", "hidden", "kernel"): "sigma_map.mlp.0.weight",
    ("sigma_map", "hidden", "bias"): "sigma_map.mlp.0.bias",
    ("sigma_map", "out", "kernel"): "sigma_map.mlp.2.weight",
    ("sigma_map", "out", "bias"): "sigma_map.mlp.2.bias",
    ("constant", "value"): "constant",  # in the place of sigma_map; no published network has it
    ("blocks", "norm1", "scale"): "norm1.weight",
    ("blocks", "attn_qkv", "kernel"): "attn_qkv.weight",
    ("blocks", "attn_out", "kernel"): "attn_out.weight",
    ("blocks", "norm2", "scale"): "norm2.weight",
    ("blocks", "mlp_in", "kernel"): "mlp.0.weight",
    ("blocks", "mlp_in", "bias"): "mlp.0.bias",
    ("blocks", "mlp_out", "kernel"): "mlp.2.weight",
    ("blocks", "mlp_out", "bias"): "mlp.2.bias",
    ("blocks", "adaLN", "kernel"): "adaLN_modulation.weight",
    ("blocks", "adaLN", "bias"): "adaLN_modulation.bias",
    ("output_layer", "norm_final", "scale"): "output_layer.norm_final.weight",
    ("output_layer", "linear", "kernel"): "output_layer.linear.weight",
    ("output_layer", "linear", "bias"): "output_layer.linear.bias",
    ("output_layer", "adaLN", "kernel"): "output_layer.adaLN_modulation.weight",
    ("output_layer", "adaLN", "bias"): "output_layer.adaLN_modulation.bias",
}
QKV = ("blocks", "attn_qkv", "kernel")
BUFFER = "inv_freq"  # rotary_emb.inv_freq: follows from the head width

StateDict = Mapping[str, np.ndarray]


def to_params(state_dict: StateDict) -> dict:
    """Published state dict (arrays by name) → nested dict of fp32 arrays, blocks stacked (N, …).

    Raises UserError naming an array that is missing, unknown, of the wrong shape or not finite.
    """
    weights = {name: w for name, w in state_dict.items() if not name.endswith(BUFFER)}
    num_blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    params: dict = {}
    left_out = "sigma_map" if NAMES["constant", "value"] in weights else "constant"
    for path, name in NAMES.items():
        if path[0] == left_out:
            continue
        if path[0] == "blocks":
            blocks = [_take(weights, f"blocks.{i}.{name}", path) for i in range(num_blocks)]
            if not blocks or any(block.shape != blocks[0].shape for block in blocks):
                raise UserError(f"blocks.….{name} is missing or differs in shape between blocks")
            array = np.stack(blocks)
        else:
            array = _take(weights, name, path)
        node = params
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = array
    if weights:
        raise UserError(f"{next(iter(weights))} is no weight of the published network")
    return params


def _take(weights: dict[str, np.ndarray], name: str, path: tuple[str, ...]) -> np.ndarray:
    """The weight of that name, taken out of `weights`, as fp32 in our layout."""
    if name not in weights:
        raise UserError(f"the weights hold no {name}")
    try:
        weight = np.asarray(weights.pop(name)).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} holds no numbers") from error
    if not np.isfinite(weight).all():
        raise UserError(f"{name} holds values that are not finite")
    wrong_rank = weight.ndim != (2 if path[-1] in ("kernel", "embedding") else 1)
    if wrong_rank or (path == QKV and weight.shape[0] != 3 * weight.shape[1]):
        raise UserError(f"{name} has shape {weight.shape}: not that of the published network")
    if path[-1] != "kernel":
        return weight
    kernel = np.ascontiguousarray(weight.T)
    return kernel.reshape(kernel.shape[0], 3, -1) if path == QKV else kernel


def to_state_dict(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Our parameters → published state dict, in the published order, without the buffer."""
    arrays = {}
    names = {path: name for path, name in NAMES.items() if path[0] in params}
    for path in names:
        node: Any = params
        for part in path:
            node = node[part]
        arrays[path] = np.asarray(node)
    state_dict = {}
    for section in dict.fromkeys(path[0] for path in names):
        paths = [path for path in names if path[0] == section]
        if section != "blocks":
            state_dict |= {NAMES[path]: _published(arrays[path], path) for path in paths}
            continue
        for i in range(len(arrays[QKV])):
            for path in paths:
                state_dict[f"blocks.{i}.{NAMES[path]}"] = _published(arrays[path][i], path)
    return state_dict


def _published(array: np.ndarray, path: tuple[str, ...]) -> np.ndarray:
    if path[-1] != "kernel":
        return array
    return np.ascontiguousarray(array.reshape(array.shape[0], -1).T)


@dataclasses.dataclass(frozen=True)
class Weights:
    """The content of a file of published weights."""

    params: dict
    ema_params: dict | None  # None where the file holds one set of weights
    step: int


def load(path: str | Path) -> Weights:
    """Reads a raw state dict, or the published checkpoint {model, ema, optimizer, step}.

    The published EMA has no names: its tensors stand in the order of the parameters.
    Raises UserError naming the file or the array.
    """
    content = torch_files.read(path)
    if not isinstance(content, Mapping) or "model" not in content:
        return Weights(_params(path, _arrays(path, content)), None, 0)
    model = _arrays(path, content["model"])
    params, ema_params = _params(path, model), None
    if "ema" in content:
        names = [name for name in model if not name.endswith(BUFFER)]
        ema = content["ema"]
        shadow = ema.get("shadow_params", ()) if isinstance(ema, Mapping) else ()
        if len(shadow) != len(names):
            raise UserError(
                f"{path}: the EMA holds {len(shadow)} arrays for {len(names)} parameters"
            )
        ema = _arrays(path, dict(zip(names, shadow, strict=True)))
        for name in names:
            if ema[name].shape != model[name].shape:
                raise UserError(
                    f"{path}: the EMA of {name} is {ema[name].shape}, not {model[name].shape}"
                )
        ema_params = _params(path, ema)
    step = content.get("step", 0)
    return Weights(params, ema_params, step if isinstance(step, int) else 0)


def _params(path: str | Path, arrays: StateDict) -> dict:
    """`to_params` of a file's arrays, with errors that name the file."""
    try:
        return to_params(arrays)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _arrays(path: str | Path, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Every tensor of a mapping, read. Raises UserError for one that is none."""
    if not isinstance(tensors, Mapping):
        raise UserError(f"{path} holds a {type(tensors).__name__} where a state dict belongs")
    arrays = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, torch_files.StoredTensor):
            tensor = tensor.array()
        if not isinstance(tensor, np.ndarray):
            raise UserError(f"{path}: {name} is a {type(tensor).__name__}, not a tensor")
        arrays[name] = tensor
    return arrays
