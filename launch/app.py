"""Serves a page on this machine on which one plays with a model: makes pieces and hears them.

    python -m launch.app --workdir=RUN

RUN is the directory of a run or of an exported model, or "demo", the one that comes with the
project. The page is for this machine alone unless --host says otherwise. Those who use it at once
are served in turn. All files lie in a temporary folder, which is removed at the end (Ctrl-C). It
needs Gradio, which the extra "app" installs: pip install 'sedd-music[app]', or in a clone
EXTRAS=app bash launch/env.sh.
"""

import importlib.util
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

from tokenizer_bridge.token_dataset.command import (
    Parser,
    integer,
    local_path,
    path_or_url,
    run_command,
)
from tokenizer_bridge.token_dataset.errors import UserError

LOCAL = "127.0.0.1"


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add(
        "--workdir",
        type=path_or_url,
        required=True,
        metavar="RUN",
        help="Directory of a run or of an exported model; demo; or user/name on the hub.",
    )
    add(
        "--step",
        type=integer(0),
        help="Checkpoint; the newest by default.",
    )
    add(
        "--codec_dir",
        type=local_path,
        metavar="DIR",
        help="Folder with the codec, if it is no known one.",
    )
    add("--host", default=LOCAL, help="Address to listen at; 0.0.0.0 lets other machines in.")
    add("--port", type=integer(1, 65535), help="Port; the first free one from 7860 by default.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    if importlib.util.find_spec("gradio") is None:
        raise UserError(
            "the page needs Gradio, which is not installed here: pip install 'sedd-music[app]', or "
            "in a clone EXTRAS=app bash launch/env.sh"
        )
    with tempfile.TemporaryDirectory(prefix="sedd-music-", ignore_cleanup_errors=True) as folder:
        serve(
            arguments.workdir,
            Path(folder),
            step=arguments.step,
            codec_dir=arguments.codec_dir,
            host=arguments.host,
            port=arguments.port,
        )


def serve(
    workdir: str,
    folder: Path,
    *,
    step: int | None = None,
    codec_dir: str | None = None,
    host: str = LOCAL,
    port: int | None = None,
) -> None:
    """Serves the page until it is interrupted. folder: an empty one, where all files are put."""
    os.environ |= {
        "GRADIO_TEMP_DIR": str(folder / "uploads"),
        "GRADIO_ANALYTICS_ENABLED": "False",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "MPLCONFIGDIR": str(folder / "matplotlib"),
    }
    from launch.playing.page import Page, css, theme
    from launch.playing.studio import load

    print(f"loading {workdir}", file=sys.stderr)
    studio = load(workdir, folder, step=step, codec_dir=codec_dir)
    page = Page(studio)
    try:
        _, address, _ = page.blocks.launch(
            server_name=host, server_port=port, share=False, quiet=True, prevent_thread_lock=True,
            allowed_paths=[str(studio.folder)], ssr_mode=False, mcp_server=False, pwa=False,
            footer_links=[], run_history=False, theme=theme(), css=css(),
        )  # fmt: skip
    except OSError as error:
        raise UserError(f"cannot listen at {host}, port {port or 'from 7860'}: {error}") from error
    print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
    if host != LOCAL:
        print(f"warning: whoever reaches {host} can use it", file=sys.stderr)
    threading.Thread(target=studio.warm, daemon=True).start()
    try:
        threading.Event().wait()
    finally:
        page.blocks.close(verbose=False)


if __name__ == "__main__":
    run_command(main)
