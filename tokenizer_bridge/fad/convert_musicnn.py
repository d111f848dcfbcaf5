"""Converts the published weights of musicnn (TensorFlow) to safetensors, as they are shipped.

    pip install tensorflow-cpu safetensors && pip install --no-deps musicnn==0.1.0
    python -m tokenizer_bridge.fad.convert_musicnn --input=SITE_PACKAGES/musicnn/MSD_musicnn/ \\
        --output=tokenizer_bridge/assets/musicnn/model.safetensors

Needs TensorFlow (2.21 was used) in an environment of its own; nothing else here does. Values are
copied as they are (float32), axes brought into PyTorch's order; the optimizer's are left out. The
shipped file was made from a checkpoint whose data file has the SHA-256
8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6.
"""

from pathlib import Path

import safetensors.numpy
from absl import flags

from tokenizer_bridge.fad.musicnn_tensorflow import converted
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import atomic_file

_INPUT = flags.DEFINE_string(
    "input", None, "Prefix of the checkpoint: PREFIX.index is a file.", required=True
)
_OUTPUT = flags.DEFINE_string("output", None, "Safetensors file to write.", required=True)


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
    with atomic_file(Path(_OUTPUT.value)) as partial:
        safetensors.numpy.save_file(converted(read), partial)


if __name__ == "__main__":
    run_door(main)
