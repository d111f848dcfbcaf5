"""Serves a page on this machine on which one plays with a model: makes pieces and hears them.

    python -m launch.app --workdir=RUN

RUN is the directory of a run or of an exported model, or "demo", the one that comes with the
project. The page is for this machine alone unless --host says otherwise. Those who use it at once
are served in turn. All files lie in a temporary folder, which is removed at the end (Ctrl-C). It
needs Gradio, which the extra "app" installs: pip install 'sedd-music[app]', or in a clone
EXTRAS=app bash launch/env.sh.
"""

import importlib.util
from collections.abc import Sequence

from launch.codec_arguments import add_codec_dir
from sedd_jax import model_arguments
from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError

LOCAL = "127.0.0.1"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    model_arguments.add_model(parser)
    add_codec_dir(parser)
    add("--host", default=LOCAL, help="Address to listen at; 0.0.0.0 lets other machines in.")
    add(
        "--max_upload_mb",
        type=integer(1, 2000),
        default=50,
        help="The largest file that can be uploaded, in MB.",
    )
    add("--port", type=integer(1, 65535), help="Port; the first free one from 7860 by default.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    if importlib.util.find_spec("gradio") is None:
        raise UserError(
            "the page needs Gradio, which is not installed here: pip install 'sedd-music[app]', or "
            "in a clone EXTRAS=app bash launch/env.sh"
        )

    from launch.jobs.app import serve

    serve(**vars(arguments))


if __name__ == "__main__":
    run_command(main)
