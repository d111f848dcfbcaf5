"""Measures generated tokens without listening to them.

    python -m launch.measure_samples --tokens=NEW --workdir=RUN --output=MEASURES.json

NEW is what `python -m sedd_jax.sample --workdir=RUN` wrote. The same measures are taken of as many
windows of RUN's validation tracks, if it has so many: good samples are near to them, not below.

    seconds_per_sample       of the sampling itself, compilation left out
    evaluations_per_sample   of the network; guidance doubles each
    unigram_bits_per_token   cross-entropy under the add-α unigram of the training tracks
    bigram_bits_per_token    the same under their Kneser–Ney bigram
                             (sedd_jax/likelihood/baselines.py): whether neighbours follow each
                             other as in the data; it sees no further
    entropy_bits             of the codes' frequencies, all samples together; biased low by up to
                             log2(codes / tokens) where tokens are few
    distinct_codes           how many codes occur at all
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.token_dataset.command import Parser, local_path, run_command
from tokenizer_bridge.token_dataset.files import write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--tokens",
        type=local_path,
        required=True,
        metavar="NEW",
        help="Token dataset of the samples.",
    )
    add(
        "--workdir",
        type=local_path,
        required=True,
        metavar="RUN",
        help="The run that they are from; or an exported model, or demo.",
    )
    add(
        "--real",
        type=local_path,
        metavar="TOKENS",
        help="Token dataset of real tracks to compare with, and to fit the unigram and bigram on; "
        "the run's training data by default.",
    )
    add("--output", type=local_path, required=True, metavar="JSON", help="File to write.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)

    from launch.jobs.measure_samples import measure_samples

    report = measure_samples(arguments.tokens, arguments.workdir, arguments.real)
    write_json_atomically(Path(arguments.output), report)
    for name, value in report["measures"].items():
        real = report["real"]
        compare = f"  (real tracks {real[name]:.5g})" if name in real else ""
        print(f"{name:<24}{'–' if value is None else f'{value:.5g}'}{compare}")


if __name__ == "__main__":
    run_command(main)
