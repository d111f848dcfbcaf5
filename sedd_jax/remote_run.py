"""A run whose directory is in an object store: gs://bucket/run, s3://bucket/run.

It lives in a folder for temporary files here, fetched when a command starts, and is copied back
after each checkpoint. What is in the store looks as a run on a disk does. A checkpoint there is
whole once it has the file that Orbax writes last, and which is copied last and removed first.

Of several processes each fetches the run into a folder of its own. Process 0 alone writes into its
folder (sedd_jax/checkpoints/gathered.py), and copies that back.
"""

import functools
import os
import re
import shutil
import threading
from pathlib import Path

from sedd_jax.errors import UserError
from tokenizer_bridge.token_dataset.mirrors import Mirror, files_below
from tokenizer_bridge.token_dataset.paths import is_url, local_path

ALL = "all"
CHECKPOINTS = "checkpoints"
SAMPLES = "samples"  # drawn while training
EXPORTED = "model.safetensors"  # in the folder of an exported model
_OF_TRAINING = re.compile(rf"{SAMPLES}/|{CHECKPOINTS}/\d+/train/")
_ATTEMPTS = 5  # to copy a run that changes meanwhile
_LAST = "_CHECKPOINT_METADATA"  # Orbax's


class RemoteRun:
    """The copy of a run here. folder: where it is; steps: of the checkpoints that were fetched.

    url: of the run's directory; step: of the checkpoint to fetch, the newest by default; a word
    instead, as ALL, fetches all. ALL is of training, which alone is given the samples, and of each
    checkpoint more than its weights for use: three quarters of its bytes are the optimizer's.
    Raises UserError when the store refuses, or has none of that step.
    """

    def __init__(self, url: str, step: int | str | None = None):
        self._mirror = Mirror(url)
        self.folder, self.naming = self._mirror.path, self._mirror.naming
        self._lock = threading.Lock()
        for _ in range(_ATTEMPTS):
            try:
                self._fetch(url, step)
            except FileNotFoundError:  # a training removes old checkpoints
                shutil.rmtree(self.folder / CHECKPOINTS, ignore_errors=True)
            else:
                return
        raise UserError(f"{url} changes while it is being copied: try again")

    def _fetch(self, url: str, step: int | str | None) -> None:
        names = self._mirror.names()
        self._stored = {_step_of(name) for name in names if name.endswith(f"/{_LAST}")} - {None}
        is_run = EXPORTED not in names
        if is_run and isinstance(step, int) and step not in self._stored:
            kept = ", ".join(map(str, sorted(self._stored))) or "none"
            raise UserError(f"{url} has no checkpoint of step {step}; it has {kept}")
        newest = {max(self._stored)} if self._stored else set()
        self.steps = (
            newest if step is None else {step} if isinstance(step, int) else {*self._stored}
        )
        self._mirror.fetch(
            name
            for name in names
            if (not name.startswith(f"{CHECKPOINTS}/") or _step_of(name) in self.steps)
            and (step == ALL or not _OF_TRAINING.match(name))
        )

    def check_writable(self) -> None:
        self._mirror.bucket.check_writable()

    def push(self) -> None:
        """Copies what is new, and removes the checkpoints that are no longer here: of a run of
        which all were fetched. Raises UserError."""
        with self._lock:
            here = {
                int(path.name)
                for path in (self.folder / CHECKPOINTS).glob("*")
                if path.name.isdigit() and (path / _LAST).exists()
            }
            for step in sorted(here - self._stored):
                folder = self.folder / CHECKPOINTS / str(step)
                self._mirror.upload(path for path in files_below(folder) if path.name != _LAST)
                self._mirror.upload([folder / _LAST])
                self._stored.add(step)
            self._mirror.upload(
                path for path in files_below(self.folder) if path.parts[len(self.folder.parts)]
                != CHECKPOINTS
            )  # fmt: skip
            for step in sorted(self._stored - here):
                names = self._mirror.bucket.names(f"{CHECKPOINTS}/{step}")
                self._mirror.remove(sorted(names, key=lambda name: not name.endswith(_LAST)))
                self._stored.discard(step)


def _step_of(name: str) -> int | None:
    """The step of the checkpoint that a file belongs to."""
    folder, *rest = name.split("/")
    return int(rest[0]) if folder == CHECKPOINTS and len(rest) > 1 and rest[0].isdigit() else None


@functools.cache
def fetched(url: str, step: int | str | None = None) -> RemoteRun:
    """The run at a URL, fetched once by this process. Raises as RemoteRun."""
    return RemoteRun(url, step)


def local_run(workdir: str | os.PathLike, step: int | str | None = None) -> Path:
    """The directory of a run or of an exported model: the path itself, or the copy of a URL's."""
    text = os.fspath(workdir)
    return fetched(text, step).folder if is_url(text) else Path(local_path(text))
