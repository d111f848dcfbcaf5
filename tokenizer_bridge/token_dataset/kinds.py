"""The kinds of a dataset's vectors and their widths: what can be told of them without NumPy."""

import re
from collections.abc import Mapping
from typing import Any

MAX_WIDTH = 2**16  # more is no vector of a track, but its audio
_KIND = re.compile(r"[A-Za-z0-9_-]+")


def check_kind(kind: Any) -> None:
    """Raise ValueError unless this can name a kind of vectors."""
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise ValueError(f"{kind!r} names no kind of vectors: letters, digits, - and _ do")


def check_widths(widths: Any) -> None:
    """Raise ValueError unless this is a map of kinds to widths."""
    if not isinstance(widths, Mapping):
        raise ValueError(f"vectors is {widths!r}")
    for kind, width in widths.items():
        check_kind(kind)
        if type(width) is not int or not 0 < width <= MAX_WIDTH:
            raise ValueError(f"vectors {kind}: the width is {width!r}")
