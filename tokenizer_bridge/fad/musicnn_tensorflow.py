"""The published weights of musicnn (TensorFlow): their names and ours, and their conversion."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy

from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file

# TensorFlow numbers its layers as they are made; these are ours in that order.
_FRONT_CONVS = [*(f"timbral.{i}.conv" for i in range(2)), *(f"temporal.{i}.conv" for i in range(3))]
_CONVS = [*_FRONT_CONVS, *(f"middle.{i}.conv" for i in range(3))]
_NORMS = [
    "input_norm",
    *(name.replace("conv", "norm") for name in _CONVS),
    "pool_norm",
    "penultimate_norm",
]
_NORM_PARTS = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def converted(read: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    """PyTorch's state dict; `read(name)` gives a tensor of the TensorFlow checkpoint."""
    state = {}
    for i, ours in enumerate(_CONVS):
        theirs = _numbered("conv2d", i)
        kernel_FxMx1xC = read(f"{theirs}/kernel")
        kernel_Cx1xFxM = kernel_FxMx1xC.transpose(3, 2, 0, 1)
        # Their middle layers see channels as an image's second axis, ours as channels.
        is_front = ours in _FRONT_CONVS
        state[f"{ours}.weight"] = (
            kernel_Cx1xFxM if is_front else kernel_Cx1xFxM[:, 0].transpose(0, 2, 1)
        )
        state[f"{ours}.bias"] = read(f"{theirs}/bias")
    for i, ours in enumerate(_NORMS):
        for part, our_part in _NORM_PARTS.items():
            state[f"{ours}.{our_part}"] = read(f"{_numbered('batch_normalization', i)}/{part}")
    for i, ours in enumerate(["penultimate", "tag_logits"]):
        state[f"{ours}.weight"] = read(f"{_numbered('dense', i)}/kernel").T
        state[f"{ours}.bias"] = read(f"{_numbered('dense', i)}/bias")
    return {name: np.ascontiguousarray(value) for name, value in state.items()}


def _numbered(name: str, i: int) -> str:
    return f"{name}_{i}" if i else name


def convert(prefix: str, output: Path) -> None:
    """Writes the tensors of a TensorFlow checkpoint as a safetensors file. Raises UserError."""
    try:
        from tensorflow.compat.v1.train import NewCheckpointReader
    except ImportError as error:
        raise UserError(f"TensorFlow is needed, in an environment of its own ({error})") from error
    try:
        read = NewCheckpointReader(prefix).get_tensor
    except Exception as error:  # TensorFlow's errors have no common class to import
        raise UserError(f"{prefix}: no TensorFlow checkpoint ({error})") from error
    with atomic_file(output) as partial:
        safetensors.numpy.save_file(converted(read), partial)
