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

from tokenizer_bridge.token_dataset.command import Parser, local_path, run_command


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

    from tokenizer_bridge.fad.musicnn_tensorflow import convert

    convert(arguments.input, Path(arguments.output))


if __name__ == "__main__":
    run_command(main)
