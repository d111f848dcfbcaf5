"""Tells whether an embedding orders known damage: damaged music and controls against real music.

    python -m tokenizer_bridge.fad.sanity --audio=MUSIC --embedding=musicnn --output=sanity.json

The music's files are split into two halves, A and B, as for a report's controls. A itself, A
through the codec, shuffled tokens, white noise and silence are compared with B, and A under damage
of rising strength: low-pass, added noise, slower tempo at the same pitch. An embedding that is fit
to judge music of this kind puts each of these rows in order (silence has no place in one); the last
lines say whether it does, in words that ordering.py defines.

Tempo is changed by a phase vocoder, whose own sound is heard as well, from the smallest change on.
A "to 0.9 of the tempo and back" passes it twice and is at the original tempo again: no more of the
distance at 0.9 of the tempo is surely the tempo's than it has over that.
"""

from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.audio.decoder_notes import without_decoder_notes
from tokenizer_bridge.fad.choices import EMBEDDINGS
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    local_path,
    local_paths,
    naming,
    number,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import make_writable, write_json_atomically


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--audio",
        type=local_paths,
        required=True,
        metavar="MUSIC",
        help="Folder of music: DIR or SOURCE:DIR.",
    )
    add("--metadata", type=local_path, metavar="TSV", help="Of MTG-Jamendo, if it is not in MUSIC.")
    add("--embedding", choices=EMBEDDINGS, default="musicnn", help="What hears the music.")
    add("--codec", default="demo", help="Name of a known codec.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with a codec's YAML and weights.",
    )
    add("--clip_s", type=number(1), default=10.0, help="Seconds of a clip.")
    add("--clips_per_file", type=integer(1, 1000), default=1, help="Clips, spread over a file.")
    add("--num_tracks", type=integer(1), help="Take so many files only.")
    add("--seed", type=integer(0), default=0, help="Of tracks, halves, noise, shuffled tokens.")
    add(
        "--weights",
        type=local_paths,
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="An embedding's weights, if they are not in a cache.",
    )
    add(
        "--cache_dir",
        type=local_path,
        metavar="DIR",
        help="Where vectors and made audio are kept; a user's cache.",
    )
    add("--device", default="cpu", help="PyTorch device, such as cpu or cuda:0.")
    add("--batch_size", type=integer(1), default=8, help="Clips at a time.")
    add("--output", type=local_path, required=True, metavar="JSON", help="File for the figures.")
    return parser


@without_decoder_notes()
def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    output = Path(arguments.output)
    if output.is_dir():
        raise UserError(f"--output={output}: is a folder; name a file")
    make_writable(output.parent)

    from tokenizer_bridge.fad.sanity_check import measure, print_figures
    from tokenizer_bridge.fad.weights import parse_weights

    keep_freed_memory()
    given = vars(arguments)
    del given["output"]
    with naming("--weights"):
        given["weights"] = parse_weights(arguments.weights)
    figures = measure(**given)
    write_json_atomically(output, figures)
    print_figures(figures)


if __name__ == "__main__":
    run_command(main)
