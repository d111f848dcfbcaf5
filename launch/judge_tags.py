r"""Shows what a model's tags are worth: draws pieces at several strengths of guidance, and judges.

    python -m launch.judge_tags --workdir=RUN --tokens=TOKENS --guidance=0,1,2,3 --output=DIR

RUN is a run, an exported model or "demo"; TOKENS a data set with tags, in the codec of the model.
For every strength and schedule sedd_jax.sample draws --num_samples pieces; at 0 they are told
nothing. Then tokenizer_bridge.judge_tags, a process of its own, decodes and judges them; see there
what its judges, ceiling and floor are. --asked says what a piece is told:

    tracks   all known tags of a held-out track, tracks chosen so that all tags occur about
             equally often
    tags     one tag alone, each as often as any other

The i-th piece is told the same and begins with the same noise at all strengths. DIR gets
judged.json, judged.md and judged.png; the command goes on where it was stopped.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from launch.codec_arguments import add_codec_dir
from launch.held_out_arguments import add_steps
from sedd_jax import model_arguments
from sedd_jax.diffusion.choices import SCHEDULES
from tokenizer_bridge.token_dataset.command import (
    Parser,
    comma_list,
    integer,
    list_of,
    local_path,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.files import make_writable

ASKED = ("tracks", "tags")


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    model_arguments.add_model(parser)
    add(
        "--tokens",
        type=local_path,
        required=True,
        metavar="TOKENS",
        help="Token dataset of real music with tags.",
    )
    add(
        "--output",
        type=local_path,
        required=True,
        metavar="DIR",
        help="Directory for samples and results.",
    )
    add(
        "--guidance",
        type=_strengths,
        default="0,1,2,3",
        help="Strengths, commas between; 0 is told nothing.",
    )
    add(
        "--guidance_schedule",
        type=_schedules,
        default="constant",
        help=f"Schedules of guidance, of {', '.join(SCHEDULES)}, commas between.",
    )
    add("--asked", choices=ASKED, default="tracks", help="What a piece is told.")
    add("--num_samples", type=integer(1), default=64, metavar="N", help="Pieces at each strength.")
    add("--length", type=integer(1), default=384, help="Tokens of a piece.")
    add_steps(parser)
    add("--batch_size", type=integer(1), default=8, help="Pieces at a time.")
    add("--seed", type=integer(0, 2**32 - 1), default=0, help="Seed of the pieces.")
    add("--categories", type=comma_list, help="Categories to judge; all by default.")
    add("--num_train", type=integer(16), default=600, metavar="N", help="Real pieces to train on.")
    add_codec_dir(parser)
    return parser


def _strengths(text: str) -> list[float]:
    """The type of an argument that lists strengths, ascending."""
    return sorted(set(list_of(number(0.0))(text)))


def _schedules(text: str) -> list[str]:
    """The type of an argument that lists schedules."""
    names = list(dict.fromkeys(comma_list(text)))
    for name in names:
        if name not in SCHEDULES:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(SCHEDULES)}")
    return names


def main(argv: Sequence[str] | None = None) -> int:
    arguments = make_parser().parse_args(argv)
    make_writable(Path(arguments.output))

    from launch.jobs.judge_tags import judge_guidance

    return judge_guidance(**vars(arguments))


if __name__ == "__main__":
    run_command(main)
