"""One HTML page of new music, complete in itself: sounds and pictures are inside the file.

    python -m launch.page --workdir=RUN [--music=MUSIC]
    python -m launch.page --tokens=NEW --output=PAGE.html

The first shows a run: what its bound is worth against a bigram and unigrams, what would lower it,
its new pieces, real music and what the codec leaves of it, the training curve and the figures. The
music's tokens are those that RUN/config.json names; the pieces lie in RUN/new, or in `new` beside
RUN, and their audio in `wavs` there, unless arguments say otherwise. Pieces without audio are
decoded here; pieces of another run are refused. With --music, the folder that was encoded, each
real clip is shown beside its recording. The second shows pieces alone.
"""

from collections.abc import Sequence

from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    local_path,
    number,
    path_or_url,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--workdir", type=path_or_url, metavar="RUN", help="Directory of the trained run.")
    add("--tokens", type=path_or_url, metavar="NEW", help="Token dataset of the new pieces.")
    add("--audio", type=local_path, metavar="WAVS", help="Folder of their decoded audio.")
    add(
        "--other_tokens",
        type=path_or_url,
        action="append",
        default=[],
        metavar="TOKENS",
        help="Pieces of another model, shown first and apart; may be repeated.",
    )
    add("--music", type=local_path, help="Folder of the music that was encoded.")
    add(
        "--music_tokens",
        type=path_or_url,
        metavar="TOKENS",
        help="Token dataset of that music; the run's own by default.",
    )
    add(
        "--output",
        type=path_or_url,
        metavar="PAGE.html",
        help="The page; RUN/index.html by default.",
    )
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with the codec, if it is no known one.",
    )
    add("--num_real", type=integer(0), default=4, help="Real clips to show.")
    add("--real_s", type=number(1), default=8.0, help="Seconds of a real clip.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    pieces = {
        "tokens": arguments.tokens,
        "audio": arguments.audio,
        "other_tokens": arguments.other_tokens,
        "codec_dir": arguments.codec_dir,
    }
    of_pieces = (arguments.tokens or arguments.other_tokens) and arguments.output
    if not (arguments.workdir or of_pieces):
        raise UserError(
            "--workdir is required, or --tokens and --output for a page of pieces alone"
        )

    from launch.jobs.page import page_of_pieces, page_of_run, run_at, write_page

    if arguments.workdir:
        output = arguments.output or f"{arguments.workdir}/index.html"
        values = page_of_run(
            run_at(arguments.workdir),
            **pieces,
            music=arguments.music,
            music_tokens=arguments.music_tokens,
            num_real=arguments.num_real,
            real_s=arguments.real_s,
        )
    else:
        values, output = page_of_pieces(**pieces), arguments.output
    write_page(output, values)


if __name__ == "__main__":
    run_command(main)
