"""Tokens to audio while a run goes on: by processes that have PyTorch, one at a time.

A process takes one core, at low priority, and downloads nothing: a published codec is found in the
Hugging Face hub's cache, or in a folder. Sets of tokens wait for each other in their order; none is
left out, and the run waits for none.
"""

import contextlib
import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from sedd_jax.errors import UserError

PROGRAM = (sys.executable, "-m", "tokenizer_bridge.decode", "--num_threads=1")
_GRACE_S = 5.0  # so long a process may take to hear that it is to end


@dataclasses.dataclass
class _Work:
    """A process at work, and what it says on stderr."""

    tokens: Path
    process: subprocess.Popen
    said: IO[bytes]

    def reason(self) -> str:
        """The line by which a process that failed says why."""
        self.said.seek(0)
        lines = self.said.read().decode(errors="replace").split("\n")
        lines = [line.strip() for line in lines if line.strip()]
        told = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (told or lines or [f"exit code {self.process.returncode}"])[-1]


class Decoder:
    """Decodes token datasets into directories of WAV files, in the background.

    codec_dir: folder of the codec, "" for one that its name finds. A context manager: leaving ends
    what is at work. Raises UserError where there is no PyTorch.
    """

    def __init__(self, codec_dir: str = ""):
        if importlib.util.find_spec("torch") is None:
            raise UserError("PyTorch is not installed here")
        self._options = [f"--codec_dir={codec_dir}"] if codec_dir else []
        self._waiting: deque[tuple[Path, Path]] = deque()
        self._work: _Work | None = None

    @property
    def num_left(self) -> int:
        """The number of datasets that wait or are at work."""
        return len(self._waiting) + (self._work is not None)

    def add(self, tokens: Path, output: Path) -> None:
        """Has a token dataset decoded into a directory once those before it are."""
        self._waiting.append((tokens, output))

    def poll(self) -> tuple[Path, str | None] | None:
        """(a dataset, None once it is decoded, else why it failed); None while there is no news.

        To be called again and again: it also starts what waits. Raises OSError when that fails.
        """
        if self._work is None:
            if self._waiting:
                self._start(*self._waiting.popleft())
            return None
        if (code := self._work.process.poll()) is None:
            return None
        work, self._work = self._work, None
        with work.said:
            return work.tokens, work.reason() if code else None

    def _start(self, tokens: Path, output: Path) -> None:
        command: Sequence[str] = [*PROGRAM, f"--tokens={tokens}", f"--output={output}"]
        if shutil.which("nice"):
            command = ["nice", *command]
        said = tempfile.TemporaryFile()
        try:
            process = subprocess.Popen(
                [*command, *self._options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
                start_new_session=True,  # Ctrl-C is the run's to hear
            )
        except BaseException:
            said.close()
            raise
        self._work = _Work(tokens, process, said)

    def __enter__(self) -> "Decoder":
        return self

    def __exit__(self, *error) -> None:
        self._waiting.clear()
        if self._work is None:
            return
        process = self._work.process
        process.terminate()
        try:
            process.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError):
            self._work.said.close()
        self._work = None
