"""Measures whether the seams of long pieces can be told, and whether pieces drift.

    python -m sedd_jax.sample --workdir=RUN --num_samples=12 --seconds=120 --output=PIECES
    python -m launch.measure_seams --tokens=PIECES --workdir=RUN --output=SEAMS.json

Seams: what a stretch of tokens costs, given the window around it, under the model's own bound; in
bits a token, across a seam, midway to the next one, and where another piece goes on behind the
seam. Drift, of --ends_s at both ends of a piece, decoded: how much louder, and how much wider over
the twelve pitch classes (bits of entropy), the end is; and the kernel distance of musicnn's vectors
of all ends from those of all beginnings, which is around 0 where they are alike. Intervals are 95%,
by piece.
"""

from collections.abc import Sequence
from pathlib import Path

from launch.codec_arguments import add_codec_dir
from sedd_jax import model_arguments
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    local_path,
    number,
    path_or_url,
    run_command,
)
from tokenizer_bridge.token_dataset.files import make_file_writable, write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--tokens",
        type=local_path,
        required=True,
        metavar="PIECES",
        help="Token dataset of samples longer than the training's.",
    )
    add(
        "--workdir",
        type=path_or_url,
        required=True,
        metavar="RUN",
        help="The run that they are from, or an exported model; demo; user/name on the hub.",
    )
    model_arguments.add_step(parser)
    add("--output", type=local_path, required=True, metavar="JSON", help="File for the figures.")
    add("--stretch", type=integer(2), default=64, help="Tokens of a stretch.")
    add("--num_levels", type=integer(1), default=8, help="Noise levels a stretch.")
    add("--ends_s", type=number(3.1, 86_400.0), default=10.0, help="Seconds of an end.")
    add_codec_dir(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    make_file_writable(output)

    from launch.jobs.measure_seams import lines, measure_seams

    report = measure_seams(
        arguments.tokens,
        arguments.workdir,
        step=arguments.step,
        stretch=arguments.stretch,
        num_levels=arguments.num_levels,
        ends_s=arguments.ends_s,
        codec_dir=arguments.codec_dir,
    )
    write_json_atomically(output, report)
    print("\n".join(lines(report)))


if __name__ == "__main__":
    run_command(main)
