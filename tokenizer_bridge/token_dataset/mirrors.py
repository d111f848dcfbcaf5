"""Folders that commands work in: one of this machine, or the copy of one in an object store.

A copy lives in a directory for temporary files (TMPDIR) as long as its process. What a process that
was killed has left there is removed by the next one.
"""

import atexit
import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG

from tokenizer_bridge.token_dataset.buckets import AT_ONCE, Bucket
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.paths import is_url, local_path

_RANDOM = 8  # letters that tempfile puts behind a prefix
_KEPT_LOCKS = contextlib.ExitStack()  # until the process ends


class Folder:
    """A folder of this machine. path: where it is; place: what it is called, for people."""

    def __init__(self, place: str | os.PathLike):
        self.place = os.fspath(place)
        self.path = Path(local_path(self.place))

    def names(self) -> list[str]:
        """The files in it that `fetch` could get."""
        return []

    def fetch(self, names: Iterable[str]) -> None:
        """Copies files from the store, so that they are here."""

    def push(self, marker: str | None = None) -> None:
        """Makes the store as the folder is here.

        marker: the name of the file whose presence says that the others are whole.
        """

    def hand_over(self, path: Path) -> None:
        """Gives a finished file to the store, if there is one, instead of keeping it here."""

    def check_writable(self) -> None:
        """Raises UserError where the store takes no files."""

    def named(self, text: str) -> str:
        """A text in which the folder is called as people know it."""
        return text

    @contextlib.contextmanager
    def naming(self) -> Iterator[None]:
        """Puts `named` on what a UserError that is raised inside says."""
        try:
            yield
        except UserError as error:
            error.args = (self.named(str(error)),)  # of whatever kind it is
            raise


class Mirror(Folder):
    """The copy of a folder in an object store; empty until something is fetched.

    bucket: the folder there. Its methods raise UserError for what the store refuses.
    """

    def __init__(self, url: str):
        self.place = url
        self.bucket = Bucket(url)
        self.path = temporary_folder()
        # Name of each file that is there → its size and time here.
        self._stored: dict[str, tuple[int, int] | None] = {}

    def names(self) -> list[str]:
        """The files there, relative to the folder."""
        return self.bucket.names()

    def fetch(self, names: Iterable[str]) -> None:
        """Copies files from there. Raises FileNotFoundError for one that has gone."""

        def fetch(name: str) -> None:
            self.bucket.download(name, self.path / name)
            self._stored[name] = _state(self.path / name)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(fetch, names))

    def upload(self, paths: Iterable[Path]) -> None:
        """Copies those of some files that are new or have changed, several at once."""
        changed = {}
        for path in paths:
            name, state = self._name(path), _state(path)
            if state and self._stored.get(name) != state and not _is_partial(name):
                changed[name] = state

        def upload(name: str) -> None:
            try:
                self.bucket.upload(self.path / name, name)
            except UserError:
                if (self.path / name).exists():
                    raise
                return  # it has gone meanwhile
            self._stored[name] = changed[name]

        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(upload, changed))

    def push(self, marker: str | None = None) -> None:
        """Copies what is new here, and removes there what was fetched or copied and has gone here.

        The marker is removed there before anything else is changed that it speaks of, and copied
        when all the rest is there.
        """
        here = {self._name(path): path for path in files_below(self.path)}
        last = here.pop(marker, None) if marker else None
        if marker in self._stored and (last is None or self._stored[marker] != _state(last)):
            self.remove([marker])
        self.upload(here.values())
        if last is not None:
            self.upload([last])
        self.remove(sorted(name for name in self._stored if not (self.path / name).exists()))

    def hand_over(self, path: Path) -> None:
        """Copies a finished file there, and removes it here."""
        self.bucket.upload(path, self._name(path))
        path.unlink()

    def check_writable(self) -> None:
        """Writes a file there and removes it."""
        self.bucket.check_writable()

    def remove(self, names: list[str]) -> None:
        """Removes files there, in this order."""
        for name in names:
            self.bucket.remove([name])
            self._stored.pop(name, None)

    def named(self, text: str) -> str:
        """A text in which the folder is called by its URL."""
        return text.replace(str(self.path), self.bucket.url)

    def _name(self, path: Path) -> str:
        return path.relative_to(self.path).as_posix()


def folder_at(place: str | os.PathLike) -> Folder:
    """The folder at a path, or the mirror of one at a URL. Raises UserError as `Bucket`."""
    return Mirror(os.fspath(place)) if is_url(place) else Folder(place)


@contextlib.contextmanager
def new_folder(place: str | os.PathLike, marker: str) -> Iterator[Path]:
    """Yields a path to make a folder at; that of a URL is copied there on leaving, `marker` last.

    Raises UserError for a URL where there is something already.
    """
    folder = folder_at(place)
    if folder.names():
        raise UserError(f"{place} exists and is not an empty folder")
    with folder.naming():
        yield folder.path
    folder.push(marker)


@contextlib.contextmanager
def file_at(place: str | os.PathLike) -> Iterator[Path]:
    """Yields a path to write a file at; that of a URL is copied there on leaving.

    Raises UserError, at once for a store that takes no files.
    """
    if not is_url(place):
        yield Path(local_path(os.fspath(place)))
        return
    url, _, name = os.fspath(place).rpartition("/")
    mirror = Mirror(url)
    mirror.check_writable()
    with mirror.naming():
        yield mirror.path / name
    mirror.hand_over(mirror.path / name)


def files_below(folder: Path) -> Iterator[Path]:
    """The files below a folder, all depths, while others come and go; none of temporary names."""
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _is_partial(name)]
        yield from (Path(place, name) for name in names if not _is_partial(name))


def _state(path: Path) -> tuple[int, int] | None:
    """Size and time of a file; None for what is none, or has gone."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return (stat.st_size, stat.st_mtime_ns) if S_ISREG(stat.st_mode) else None


def _is_partial(name: str) -> bool:
    """True for the temporary names of `atomic_file`, and for files in folders of such a name."""
    return any(part[0] == "." and part.endswith(".partial") for part in name.split("/"))


def temporary_folder(name: str = "copy") -> Path:
    """An empty folder of this name that goes when this process ends."""
    # On a disk of several machines, the lock of a folder is seen by its own alone.
    prefix = f"sedd_music-{os.getuid()}-{os.uname().nodename}-"
    for left in Path(tempfile.gettempdir()).glob(f"{glob.escape(prefix)}{'?' * _RANDOM}"):
        with contextlib.suppress(OSError), _locked(left, wait=False):
            shutil.rmtree(left, ignore_errors=True)
    outer = _locked_new_folder(prefix)
    atexit.register(shutil.rmtree, outer, ignore_errors=True)
    inner = outer / name
    inner.mkdir()
    return inner


def _locked_new_folder(prefix: str) -> Path:
    """A new folder, locked until this process ends."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix))
        with contextlib.ExitStack() as lock, contextlib.suppress(FileNotFoundError):
            descriptor = lock.enter_context(_locked(folder))
            # Before it was locked, another process may have taken it for a leftover.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                _KEPT_LOCKS.push(lock.pop_all())
                return folder


@contextlib.contextmanager
def _locked(folder: Path, wait: bool = True) -> Iterator[int]:
    """Holds a lock that dies with the process, and yields its descriptor.

    Raises OSError where another one holds it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield descriptor
    finally:
        os.close(descriptor)
