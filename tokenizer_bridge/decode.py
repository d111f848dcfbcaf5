"""Decodes tokens into audio files: 16-bit PCM, mono, at the codec's rate.

    python -m tokenizer_bridge.decode --tokens=NEW --output=WAVS

NEW is a token dataset, whose codec is loaded by the name it records, or a .npy file of codes,
(L,) or (N, L), for which --codec must be given. A dataset of another codec is refused.

Audio longer than --window_s is decoded in windows that are faded into each other. They are as long
as the crops that WavTokenizer was trained on, since its decoder normalises and attends over all of
its input: log-mel distance of the demo codec on 2 min of music 1.02 in windows of 3 s, 1.06 in
windows of 12 s, 1.11 in one piece.

A file is called after its record's id, with everything but letters, digits, `.`, `-` and `_`
replaced. A file that holds the very piece already is kept, so that an interrupted run goes on where
it stopped; any other file of that name is refused. --overwrite replaces both. Peaks beyond full
scale are clipped and counted. NEW and WAVS may be URLs of an object store, to which each file goes
as soon as it is made.
"""

from collections.abc import Sequence

from tokenizer_bridge.audio.choices import DECODING, FORMATS
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    local_path,
    number,
    path_or_url,
    run_command,
)


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--tokens",
        type=path_or_url,
        required=True,
        metavar="NEW",
        help="Token dataset, or .npy of codes.",
    )
    add(
        "--output",
        type=path_or_url,
        required=True,
        metavar="WAVS",
        help="Directory of the audio files.",
    )
    add("--split", help="Split of the dataset; all of them if not given.")
    add("--codec", help="Name of the codec, if not the dataset's own.")
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with a codec's weights and YAML.",
    )
    add("--format", choices=FORMATS, default="wav", help="Format of the audio files.")
    add("--overwrite", action="store_true", help="Replace files that exist.")
    add("--window_s", type=number(), default=DECODING[0], help="Seconds that are decoded at once.")
    add("--overlap_s", type=number(), default=DECODING[1], help="Seconds that two windows share.")
    add("--batch_size", type=integer(1), default=16, help="Windows in a batch.")
    add("--device", default="cpu", help="PyTorch device, such as cpu or cuda:0.")
    add("--num_threads", type=integer(1), metavar="N", help="Cores to use; all, if not given.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)

    from tokenizer_bridge.jobs.decode import decode

    keep_freed_memory()
    decode(**vars(arguments))


if __name__ == "__main__":
    run_command(main)
