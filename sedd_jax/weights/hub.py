"""Models on the Hugging Face hub, fetched into its cache by their name."""

import re
from collections.abc import Sequence
from pathlib import Path

from sedd_jax.errors import UserError

_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


def is_name(source: str | Path) -> bool:
    """True for `user/name` where nothing lies here under that name."""
    return not Path(source).exists() and bool(_NAME.fullmatch(str(source)))


def fetch(name: str, files: Sequence[str]) -> Path:
    """The folder with those of `files` that a model has, fetched where the cache lacks it.

    Raises UserError when it cannot be had.
    """
    import huggingface_hub  # slow to import, and not needed for what lies here

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # the hub lets errors of its HTTP library through
        raise UserError(
            f"{name} is no folder here, and cannot be had from the Hugging Face hub "
            f"({type(error).__name__})"
        ) from error
