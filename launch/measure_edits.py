"""Measures edits of held-out music: does a song go on as itself, and do new stretches join?

    python -m launch.measure_edits --workdir=demo --audio=HELD_OUT --output=EDITS.json

A clip from the middle of each track is taken for a song of --song_s seconds and what follows. The
model goes on with the song for --continue_s, and its musicnn vector is compared, by cosine
distance, with that of its own song and with those of the others, and all of that with the music
that really follows; everything goes through the codec. Then a stretch of --replace_s in the middle
of each song is replaced and put back into it as `launch.edit` does, and the changes from sample to
sample where the recording, fade and new part meet are compared with the song's own; beside them
stands the same stretch cut in without fade and level.
"""

from collections.abc import Sequence
from pathlib import Path

from launch.held_out_arguments import add_held_out_arguments
from tokenizer_bridge.token_dataset.command import (
    Parser,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.files import make_file_writable, write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add_held_out_arguments(parser)
    add = parser.add_argument
    add("--song_s", type=number(above=0.0), default=12.0, help="Seconds of a song.")
    add("--continue_s", type=number(above=0.0), default=10.0, help="Seconds that follow it.")
    add("--replace_s", type=number(above=0.0), default=3.0, help="Seconds that are replaced.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    make_file_writable(output)
    options = {key: value for key, value in vars(arguments).items() if key != "output"}

    from launch.jobs.measure_edits import measure_edits, summary

    report = measure_edits(**options)
    write_json_atomically(output, report)
    print(summary(report))


if __name__ == "__main__":
    run_command(main)
