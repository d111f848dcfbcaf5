"""Measures what a codec keeps of music, on music that it was not trained on.

    python -m tokenizer_bridge.evaluate_codec --codec=demo --audio=HELD_OUT_MUSIC

Beside the codec stand an untrained network of the same sizes, the recordings against other
recordings (what chance gives), and the recordings against themselves (the ceiling). `bits` are what
a code costs a unigram and a bigram that were counted on the other half of the clips: with few clips
far more than a model that has seen much music needs.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.audio.decoder_notes import without_decoder_notes
from tokenizer_bridge.source_arguments import add_source_arguments, load_tracks
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, number, run_command
from tokenizer_bridge.token_dataset.files import write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--codec", default="demo", help="Name of a known codec.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with a codec's YAML and weights.",
    )
    add("--clip_s", type=number(1), default=10.0, help="Seconds of a clip.")
    add("--clips_per_track", type=integer(1), default=6, help="Clips, spread over a track.")
    add("--output", type=local_path, metavar="JSON", help="File for the figures.")
    add_source_arguments(parser)
    return parser


@without_decoder_notes()
def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output) if arguments.output else None
    if output:
        output.parent.mkdir(parents=True, exist_ok=True)  # fails now, not at the end

    from tokenizer_bridge.jobs.evaluate_codec import evaluate_codec

    figures = evaluate_codec(
        load_tracks(arguments),
        codec=arguments.codec,
        codec_dir=arguments.codec_dir,
        clip_s=arguments.clip_s,
        clips_per_track=arguments.clips_per_track,
    )
    if output:
        write_json_atomically(output, figures)


if __name__ == "__main__":
    run_command(main)
