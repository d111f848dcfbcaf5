"""Plain names for folders whose own Orbax or TensorStore would misread.

Orbax finds what each process has written by a pattern that begins with the path, in which [, * and
? have a meaning; TensorStore takes a backslash for a slash. Both follow symbolic links.
"""

import hashlib
import os
import re
import tempfile
from pathlib import Path

_PLAIN = re.compile(r"[A-Za-z0-9/._@+=,~-]*")


def plain_path(folder: Path) -> Path:
    """A path of letters, digits and harmless signs that leads to an absolute path.

    It is the path itself where that is so, else a symbolic link in the directory for temporary
    files: the same one for all processes of a user, and made again when it has been cleared away.
    """
    if _PLAIN.fullmatch(str(folder)):
        return folder
    link = _own_directory() / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    if not (link.is_symlink() and os.readlink(link) == str(folder)):
        new = link.with_name(f"{link.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        new.symlink_to(folder)
        os.replace(new, link)
    return link


def _own_directory() -> Path:
    """A directory for temporary files that nobody else can write to."""
    temporary = tempfile.gettempdir()
    if not _PLAIN.fullmatch(temporary):
        temporary = "/tmp"
    own = Path(temporary) / f"sedd_jax-{os.getuid()}"
    own.mkdir(mode=0o700, exist_ok=True)
    if own.is_symlink() or own.stat().st_uid != os.getuid():
        return Path(tempfile.mkdtemp(prefix="sedd_jax-", dir=temporary))
    return own
