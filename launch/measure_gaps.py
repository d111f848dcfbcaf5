"""Measures how well a model fills in gaps of held-out music.

    python -m launch.measure_gaps --workdir=demo --audio=HELD_OUT --output=GAPS.json
    python -m launch.measure_gaps … --gaps_ms= --transitions=24,48,96,144,192

A gap lies in the middle of a clip from the middle of each track: --gaps_ms in clips of --clip_s
seconds, the protocol of AIDD (arXiv 2507.08333); --transitions of so many tokens between contexts
of 96, that of Craftic/audio-transition-inpainting-checkpoints. The model's repair stands beside
silence, linear prediction from both sides, and the original through the codec, which no repair in
tokens can be nearer than. Two distances to what was there, each with its 95% interval by artist:
the log-spectral one over the gap, in dB, and the cosine distance of musicnn's vectors of the 3 s
around it, where a clip is that long.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sedd_jax import config_arguments
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    list_of,
    local_path,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.files import make_file_writable, write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--workdir",
        type=local_path,
        required=True,
        metavar="RUN",
        help="Directory of a run or of an exported model; demo; or user/name on the hub.",
    )
    config_arguments.add_step(parser)
    add(
        "--audio",
        type=local_path,
        required=True,
        metavar="HELD_OUT",
        help="Folder of music that neither model nor codec has heard.",
    )
    add("--output", type=local_path, required=True, metavar="JSON", help="File for the figures.")
    add(
        "--gaps_ms",
        type=_perhaps(list_of(number(1.0, 86_400_000.0))),
        default=[150.0, 300.0, 500.0, 750.0],
        help="Lengths of gaps in milliseconds; empty: none.",
    )
    add(
        "--transitions",
        type=_perhaps(list_of(integer(1))),
        default=[],
        help="Lengths of transitions in tokens; empty: none.",
    )
    add(
        "--clip_s", type=number(0.01, 86_400.0), default=4.0, help="Seconds of the clips with gaps."
    )
    add("--num_tracks", type=integer(2), help="Take so many tracks only.")
    add("--steps", type=integer(1), default=64, help="Steps from noise to data.")
    add("--seed", type=integer(0, 2**32 - 1), default=0, help="Of tracks and repairs.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with the codec's weights and YAML.",
    )
    return parser


def _perhaps(parse):
    """The type of a list that may be empty."""
    return lambda text: parse(text) if text else []


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    make_file_writable(output)

    from launch.gaps.job import measure_gaps, table

    report: dict[str, Any] = measure_gaps(
        arguments.workdir,
        arguments.audio,
        step=arguments.step,
        gaps_ms=arguments.gaps_ms,
        transitions=arguments.transitions,
        clip_s=arguments.clip_s,
        num_tracks=arguments.num_tracks,
        steps=arguments.steps,
        seed=arguments.seed,
        codec_dir=arguments.codec_dir,
    )
    write_json_atomically(output, report)
    print(table(report))


if __name__ == "__main__":
    run_command(main)
