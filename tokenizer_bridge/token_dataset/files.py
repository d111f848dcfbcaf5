"""Files that are whole or absent: written beside their place, synced, then renamed into it."""

import contextlib
import errno
import functools
import hashlib
import json
import os
import tempfile
import unicodedata
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizer_bridge.token_dataset.errors import UserError

_MAX_STEM = 150  # bytes; a file name may have 255, with suffixes


def sync(path: Path) -> None:
    """Force a file's or directory's content to the disk. A full disk raises here, not later."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on leaving, what was written there becomes `path`.

    If the block raises, `path` is as it was before and the temporary file is gone. durable: nothing
    is waited for otherwise, and `path` may be found damaged after the machine, not just the
    process, has failed.
    """
    # Processes of two machines, or containers, may have one number, and write to one disk.
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial")
    try:
        yield temporary
        if durable:
            sync(temporary)
        os.replace(temporary, path)
        if durable:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_json_atomically(path: Path, value: Any) -> None:
    """Write a JSON file (UTF-8, one key a line) so that it is whole or absent."""
    with atomic_file(path) as temporary:
        temporary.write_text(as_json(value), encoding="utf-8")


def as_json(value: Any) -> str:
    """The text of a JSON file, one key a line. Raises ValueError for a number that is none."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def make_writable(folder: Path) -> None:
    """Make a folder, or raise OSError now instead of when there is something to be written."""
    folder.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=folder).close()


def make_file_writable(path: Path) -> None:
    """Make the folder of a file that is written later, or raise OSError now."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    make_writable(path.absolute().parent)


def as_text(path: str | os.PathLike) -> str:
    """A path as text that can be written anywhere: names are bytes, and need not be UTF-8."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """`file_sha256`, for which a process reads a file once, unless its size or time changes."""
    stat = path.stat()
    return _sha256_as_of(path, stat.st_size, stat.st_mtime_ns)


@functools.cache
def _sha256_as_of(path: Path, size: int, mtime_ns: int) -> str:
    del size, mtime_ns  # of the key
    return file_sha256(path)


def safe_file_stems(names: Sequence[str]) -> list[str]:
    """A file name without suffix for each name, which file systems and shells take as it is.

    Letters, digits and marks of every script, emoji and `+,-.=@_` stay, all else becomes `_`. Those
    that would be the same file, where upper and lower case are one, get a hash of the name as well;
    names given twice, a count.
    """
    stems = [_safe_stem(name) for name in names]
    same_file = Counter(stem.casefold() for stem in stems)
    seen: Counter[str] = Counter()
    unique = []
    for name, stem in zip(names, stems, strict=True):
        if same_file[stem.casefold()] > 1:
            digest = hashlib.sha256(f"{seen[name]}{name}".encode(errors="backslashreplace"))
            stem = f"{stem}-{digest.hexdigest()[:8]}"
            seen[name] += 1
        unique.append(stem)
    return unique


def _safe_stem(name: str) -> str:
    # One form for letters with marks: some file systems take the two for the same name.
    letters = [x if _is_safe(x) else "_" for x in unicodedata.normalize("NFC", name)]
    while len("".join(letters).encode()) > _MAX_STEM:
        del letters[0]
    return "".join(letters).lstrip(".-") or "unnamed"


def _is_safe(letter: str) -> bool:
    if letter.isascii():
        return letter.isalnum() or letter in "+,-.=@_"
    # Neither separators (Z) nor controls (C), but for the joiners that some scripts are spelt with.
    return unicodedata.category(letter)[0] not in "ZC" or letter in "\u200c\u200d"


def require_folder(path: str | os.PathLike) -> Path:
    """The path of a folder that is there. Raises UserError, for a file by saying that it is one."""
    folder = Path(path)
    if not folder.is_dir():
        what = "a file, where a folder is needed" if folder.exists() else "no such folder"
        raise UserError(f"{path}: {what}")
    return folder
