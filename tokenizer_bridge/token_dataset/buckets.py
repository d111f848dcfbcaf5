"""Object stores by URL: gs://bucket/run, s3://bucket/tokens and whatever else fsspec knows.

fsspec needs a package of its own for each, gcsfs and s3fs for these two. A token dataset there is
copied to this machine once, each file checked against the SHA-256 in its dataset.json, and read
from its copy.
"""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tokenizer_bridge.token_dataset.description import DATASET_FILE, read_description
from tokenizer_bridge.token_dataset.errors import UserError, explain, one_line
from tokenizer_bridge.token_dataset.files import atomic_file, file_sha256
from tokenizer_bridge.token_dataset.paths import is_url, local_path

AT_ONCE = 8  # files: a request takes its time, however small the file
_PROBE = ".writable-"  # a file that says that a bucket can be written to, and goes at once


class Bucket:
    """A folder in an object store, whose files are read and written whole.

    names: relative to the folder, with slashes. Raises UserError for a scheme that is unknown or
    lacks its package; each method raises UserError, which names the URL, for what the store
    refuses, and `read` and `download` FileNotFoundError for what is not there.
    """

    def __init__(self, url: str):
        import fsspec  # seldom needed, and not at once there

        self.url = url.rstrip("/")
        options = {"auto_mkdir": True} if url.startswith("file://") else {}
        try:
            self._files, root = fsspec.core.url_to_fs(self.url, **options)
        except (ImportError, ValueError) as error:
            raise UserError(f"{self.url}: {one_line(error)}") from error
        self._root = root.rstrip("/")

    def names(self, below: str = "") -> list[str]:
        """The files below a folder, all depths, sorted; "" for a file that is called as it is."""
        return list(self.sizes(below))

    def sizes(self, below: str = "") -> dict[str, int]:
        """Name → bytes of these files, by name."""
        folder = self._place(below)
        with self._errors():
            self._files.invalidate_cache()
            there = self._files.exists(folder)
            found = self._files.find(folder, detail=True) if there else {}
        sizes = {str(p)[len(self._root) :].lstrip("/"): info["size"] for p, info in found.items()}
        return {name: sizes[name] for name in sorted(sizes) if not name.startswith(_PROBE)}

    def read(self, name: str) -> bytes:
        with self._errors(may_miss=True):
            return self._files.cat_file(self._place(name))

    def write(self, name: str, data: bytes) -> None:
        """Writes a file, of which nobody sees a part; in a `file://` store it grows in place."""
        with self._errors():
            self._files.pipe_file(self._place(name), data)

    def remove(self, names: list[str]) -> None:
        """Removes files; another machine may have done so."""
        with self._errors():
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(self._place(name))

    def download(self, name: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._errors(may_miss=True):
            self._files.get_file(self._place(name), str(path))

    def upload(self, path: Path, name: str) -> None:
        with self._errors():
            self._files.put_file(str(path), self._place(name))

    def check_writable(self) -> None:
        """Writes a file and removes it. Raises UserError now instead of after hours of work."""
        name = f"{_PROBE}{uuid.uuid4().hex}"
        self.write(name, b"")
        self.remove([name])

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    @contextlib.contextmanager
    def _errors(self, may_miss: bool = False) -> Iterator[None]:
        """The libraries of stores raise errors of many kinds: network, permission, no bucket."""
        try:
            yield
        except Exception as error:
            if may_miss and isinstance(error, FileNotFoundError):
                raise
            said = explain(error)
            raise UserError(f"{self.url}: {said[1] if said else one_line(error)}") from error


def cache_folder() -> Path:
    """The folder for what is copied from elsewhere: sedd_music in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sedd_music"


def local_dataset(path: str | os.PathLike) -> Path:
    """The folder of a token dataset: the path itself, or the copy of what is at a URL.

    Raises UserError for a dataset that is not there, or not as its dataset.json says.
    """
    text = os.fspath(path)
    if not is_url(text):
        return Path(local_path(text))
    bucket = Bucket(text)
    try:
        description = bucket.read(DATASET_FILE)
    except FileNotFoundError as error:
        raise UserError(f"{text} holds no token dataset: there is no {DATASET_FILE}") from error
    folder = cache_folder() / "tokens" / hashlib.sha256(description).hexdigest()[:32]
    if not (folder / DATASET_FILE).exists():
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_file(folder / DATASET_FILE) as partial, ThreadPoolExecutor(AT_ONCE) as pool:
            partial.write_bytes(description)
            splits = read_description(folder, partial.name)["splits"].values()
            shards = [shard for split in splits for shard in split["shards"]]
            list(pool.map(lambda shard: _fetch(bucket, shard, folder), shards))
    return folder


def _fetch(bucket: Bucket, shard: dict[str, Any], folder: Path) -> None:
    """Copies a shard, unless it is here already."""
    name, path = shard["file"], folder / shard["file"]
    if path.exists():
        return
    with atomic_file(path) as partial:
        try:
            bucket.download(name, partial)
        except FileNotFoundError as error:
            raise UserError(f"{bucket.url}/{name} is missing: {DATASET_FILE} lists it") from error
        if file_sha256(partial) != shard["sha256"]:
            raise UserError(f"{bucket.url}/{name} is damaged: its SHA-256 is not {DATASET_FILE}'s")
