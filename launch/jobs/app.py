"""The page to play with, served until it is interrupted."""

import os
import sys
import tempfile
import threading
from pathlib import Path

from launch.playing.job import Job
from tokenizer_bridge.token_dataset.errors import UserError

LOCAL = ("127.0.0.1", "localhost", "::1")


def serve(
    workdir: str,
    *,
    step: int | str | None,
    codec_dir: str | None,
    host: str,
    port: int | None,
    max_upload_mb: int,
) -> None:
    """Serves the page; the arguments are the command's. Raises UserError."""
    with tempfile.TemporaryDirectory(prefix="sedd-music-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        os.environ |= {
            "GRADIO_TEMP_DIR": str(folder / "uploads"),
            "GRADIO_ANALYTICS_ENABLED": "False",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            # Gradio asks itself whether it is there: no proxy could tell.
            "no_proxy": ",".join([*LOCAL, os.environ.get("no_proxy", "")]),
        }
        # Here, because they read the environment.
        from launch.playing.page import Page, launch
        from launch.playing.studio import load

        print(f"loading {workdir}", file=sys.stderr)
        studio = load(workdir, folder, step=step, codec_dir=codec_dir)
        page = Page(studio)
        try:
            address = launch(page, host, port, max_upload_mb)
        except OSError as error:
            asked = f"port {port}" if port else "any port from 7860 on"
            raise UserError(
                f"cannot listen at {host}, {asked}: it is taken, or no address of this machine"
            ) from error
        print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
        if host not in LOCAL:
            print(f"warning: whoever reaches {host} can use it", file=sys.stderr)
        warming = Job(studio.warm)
        try:
            threading.Event().wait()
        finally:
            page.close()
            warming.cancel()
            warming.wait()  # an interpreter that ends while XLA compiles is aborted
