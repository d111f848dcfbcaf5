"""Decodes edits of a recording, and leaves the recording as it is wherever nothing was changed.

    python -m tokenizer_bridge.decode_edits --tokens=EDITS --audio=SONG --output=WAVS

EDITS is a token dataset that `python -m launch.edit` made of SONG; that command starts this one
itself where it can. Each edit becomes a WAV file of SONG's sample rate, channels and bits. What is
new in it is decoded, as loud as what it stands beside, and faded into SONG over 0.3 s at its sides;
every other sample is SONG's own. What is new is mono and has the codec's bandwidth.

A file that holds the very edit already is kept, any other file of that name is refused;
--overwrite replaces both.
"""

from collections.abc import Sequence

from tokenizer_bridge.token_dataset.command import Parser, local_path, run_command


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--tokens",
        type=local_path,
        required=True,
        metavar="EDITS",
        help="Token dataset of the edits.",
    )
    add(
        "--audio",
        type=local_path,
        required=True,
        metavar="SONG",
        help="The recording that they were made of.",
    )
    add(
        "--output",
        type=local_path,
        required=True,
        metavar="WAVS",
        help="Directory of the audio files.",
    )
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with a codec's weights and YAML.",
    )
    add("--overwrite", action="store_true", help="Replace files that exist.")
    add("--device", default="cpu", help="PyTorch device, such as cpu or cuda:0.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)

    from tokenizer_bridge.jobs.decode_edits import decode_edits

    decode_edits(**vars(arguments))


if __name__ == "__main__":
    run_command(main)
