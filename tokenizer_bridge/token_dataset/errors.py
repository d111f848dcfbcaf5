"""Errors that are explained to the user in one line."""

import errno

# EFBIG is what a file-size limit (`ulimit -f`) gives where a disk would give ENOSPC.
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_OURS = ("sedd_jax", "tokenizer_bridge", "launch", "configs")  # of which none can be missing
NO_SPACE_TEXTS = ("No space left on device", "Disk quota exceeded", "File too large")


class Explained(Exception):
    """An error of one line, which a command prints before it exits with `exit_code`."""

    exit_code = 1


class UserError(Explained):
    """A mistake of the user's. Its text says what is wrong, and names the file or the value."""


def is_disk_full(error: BaseException) -> bool:
    """True if an error means that no more can be written (disk, quota or file-size limit).

    ArrayRecord's C++ writer raises RuntimeError with the system's text instead of an OSError.
    """
    if isinstance(error, OSError):
        return error.errno in _NO_SPACE
    return isinstance(error, RuntimeError) and any(text in str(error) for text in NO_SPACE_TEXTS)


def is_out_of_memory(error: BaseException) -> bool:
    """True if an error of NumPy, PyTorch or XLA means that memory does not suffice."""
    texts = ("can't allocate memory", "out of memory", "RESOURCE_EXHAUSTED")
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in texts)
    )


def one_line(error: BaseException, limit: int = 300) -> str:
    """An exception's text on one line, of at most `limit` characters.

    Of a longer one the beginning and the end are kept: what was done, and why it failed.
    """
    text = " ".join(str(error).split()) or type(error).__name__
    if len(text) <= limit:
        return text
    last = limit // 2
    return f"{text[: limit - last - 3]} … {text[-last:]}"


def explain(error: BaseException) -> tuple[int, str] | None:
    """Exit code and line of an error that the user can do something about; None for any other.

    A full disk, too little memory, a file or directory that cannot be used and a package that is
    not installed count as mistakes of the user's.
    """
    if isinstance(error, Explained):
        return error.exit_code, str(error)
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        if package not in _OURS:
            return 1, (
                f"this needs the Python package {package}, which is not installed: it comes with "
                "both sides of sedd-music (pip install . in its folder), or with an extra"
            )
    if is_disk_full(error):
        return 1, f"nothing more can be written: {one_line(error)}"
    if is_out_of_memory(error):
        return 1, f"not enough memory: {one_line(error)}"
    if isinstance(error, OSError) and error.filename:
        return 1, f"{error.filename2 or error.filename}: {error.strerror}"
    return None
