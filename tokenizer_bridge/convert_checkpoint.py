"""Converts a WavTokenizer checkpoint to safetensors, which carry no code.

    python -m tokenizer_bridge.convert_checkpoint --input=X.ckpt --output=X.safetensors [--trust]

Without --trust the file is read with PyTorch's weights-only reader, which runs nothing.
"""

from collections.abc import Sequence

from tokenizer_bridge.token_dataset.command import Parser, local_path, run_command
from tokenizer_bridge.token_dataset.errors import UserError


def make_parser() -> Parser:
    parser = Parser(__doc__)
    parser.add_argument(
        "--input",
        type=local_path,
        required=True,
        metavar="X.ckpt",
        help="Checkpoint (.ckpt) to read.",
    )
    parser.add_argument(
        "--output",
        type=local_path,
        required=True,
        metavar="X.safetensors",
        help="Safetensors file to write.",
    )
    parser.add_argument(
        "--trust",
        action="store_true",
        help="Unpickle the file although that runs any code in it: only for files you trust.",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)

    from tokenizer_bridge.wavtokenizer.checkpoints import CarriesCode, convert_checkpoint

    try:
        weights = convert_checkpoint(arguments.input, arguments.output, trust=arguments.trust)
    except CarriesCode as error:
        raise UserError(f"{error} --trust") from error
    print(
        f"{arguments.output}: {len(weights.tensors)} tensors of the codec "
        f"({weights.num_skipped} others left out)"
    )


if __name__ == "__main__":
    run_command(main)
