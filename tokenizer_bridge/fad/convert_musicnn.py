"""Converts the published weights of musicnn (TensorFlow) to safetensors, as they are shipped.

    pip install tensorflow-cpu safetensors && pip install --no-deps musicnn==0.1.0
    python -m tokenizer_bridge.fad.convert_musicnn --input=SITE_PACKAGES/musicnn/MSD_musicnn/ \\
        --output=tokenizer_bridge/assets/musicnn/model.safetensors

Needs TensorFlow (2.21 was used) in an environment of its own; nothing else here does. Values are
copied as they are (float32), axes brought into PyTorch's order; the optimizer's are left out. The
shipped file was made from a checkpoint whose data file has the SHA-256
8579734ee6388f799ed0def4bbd0d1fdcbeaf213ef2a9dc860917bd76a303de6.
"""

from collections.abc import Sequence
from pathlib import Path

import safetensors.numpy

from tokenizer_bridge.fad.musicnn_tensorflow import converted
from tokenizer_bridge.token_dataset.command import Parser, local_path, run_command
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--input",
        type=local_path,
        required=True,
        metavar="PREFIX",
        help="Prefix of the checkpoint: PREFIX.index is a file.",
    )
    parser.add_argument(
        "--output",
        type=local_path,
        required=True,
        metavar="X.safetensors",
        help="Safetensors file to write.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    convert(arguments.input, Path(arguments.output))


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


if __name__ == "__main__":
    run_command(main)
