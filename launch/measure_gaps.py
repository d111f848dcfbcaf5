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

from collections.abc import Callable, Sequence
from pathlib import Path

from launch.held_out_arguments import add_held_out_arguments
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    list_of,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.files import make_file_writable, write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add_held_out_arguments(parser)
    add = parser.add_argument
    add(
        "--gaps_ms",
        type=_or_empty(list_of(number(1.0, 86_400_000.0))),
        default=[150.0, 300.0, 500.0, 750.0],
        help="Lengths of gaps in milliseconds; empty: none.",
    )
    add(
        "--transitions",
        type=_or_empty(list_of(integer(1))),
        default=[],
        help="Lengths of transitions in tokens; empty: none.",
    )
    add(
        "--clip_s", type=number(0.01, 86_400.0), default=4.0, help="Seconds of the clips with gaps."
    )
    return parser


def _or_empty(parse: Callable[[str], list]) -> Callable[[str], list]:
    """The type of a list that may be empty."""
    return lambda text: parse(text) if text else []


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    make_file_writable(output)
    options = {key: value for key, value in vars(arguments).items() if key != "output"}

    from launch.gaps.job import measure_gaps, table

    report = measure_gaps(**options)
    write_json_atomically(output, report)
    print(table(report))


if __name__ == "__main__":
    run_command(main)
