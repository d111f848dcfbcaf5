"""Paths as people write them: ~ is their home, and a URL is no folder.

Python's pathlib would take gs://bucket/run for a folder `gs:` here.
"""

import os
import re
import unicodedata

from tokenizer_bridge.token_dataset.errors import UserError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HUB = re.compile(r"https?://(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)")
_HOME = re.compile(r"(^|[=:,])(~[^/=:,]*)")


def is_url(path: str | os.PathLike) -> bool:
    """True for scheme://…"""
    return bool(_URL.match(os.fspath(path)))


def local_path(text: str) -> str:
    """A path with its ~ expanded. Raises UserError for a URL, and for control characters."""
    if hub := _HUB.match(text):
        raise UserError(
            f"{text} is a URL, where a path is needed: a model of the hub is called {hub[1]}"
        )
    if is_url(text):
        raise UserError(
            f"{text} is a URL, where a path is needed: mount the bucket (gcsfuse, mountpoint-s3), "
            "or copy the files"
        )
    return os.path.expanduser(_printable(text))


def path_or_url(text: str) -> str:
    """A URL as it is, or a path as `local_path` has it."""
    return _printable(text) if is_url(text) else local_path(text)


def local_paths_within(text: str) -> str:
    """The same of a text with paths in it, each at its start or behind one of `=`, `:` and `,`."""
    for part in re.split(r"[=,]|:(?!//)", text):
        local_path(part)
    return _HOME.sub(lambda match: match[1] + os.path.expanduser(match[2]), text)


def _printable(text: str) -> str:
    if any(unicodedata.category(letter) == "Cc" for letter in text):
        raise UserError(f"{text!r} has a control character: no path can be told from it")
    return text
