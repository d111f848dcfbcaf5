"""Converts the published weights of musicnn (TensorFlow) to safetensors, as they are shipped.

    pip install tensorflow-cpu safetensors && pip install --no-deps musicnn==0.1.0
    python -m tokenizer_bridge.fad.convert_musicnn --input=SITE_PACKAGES/musicnn/MSD_musicnn/ \\
        --output=tokenizer_bridge/assets/musicnn/model.safetensors

Needs TensorFlow (2.21 was used) in an environment of its own; nothing else here does. Values are
copied as they are (float32), axes brought into PyTorch's order; the optimizer's are left out. The
shipped file was made from a checkpoint whose data file has the SHA-256
8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6.
"""

import numpy as np
import safetensors.numpy
from absl import flags

from tokenizer_bridge.errors import UserError, run_door

_INPUT = flags.DEFINE_string(
    "input", None, "Prefix of the checkpoint: PREFIX.index is a file.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Safetensors file to write.", required=True)

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


def main(argv: list[str]) -> None:
    del argv
    try:
        from tensorflow.compat.v1.train import NewCheckpointReader
    except ImportError as error:
        raise UserError(f"TensorFlow is needed, in an environment of its own ({error})") from error
    try:
        read = NewCheckpointReader(_INPUT.value).get_tensor
    except Exception as error:  # TensorFlow's errors have no common class to import
        raise UserError(f"--input={_INPUT.value}: no TensorFlow checkpoint ({error})") from error
    safetensors.numpy.save_file(converted(read), _OUTPUT.value)


def converted(read) -> dict[str, np.ndarray]:
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


if __name__ == "__main__":
    run_door(main)
