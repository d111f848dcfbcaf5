"""Models on the Hugging Face hub: fetched into its cache by their name, and uploaded under one.

Uploading was tried on a stand-in of the hub's HTTP API (tests/sedd_jax/weights/toy_hub.py), not on
the hub itself.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from sedd_jax.errors import UserError, one_line

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
            f"({type(error).__name__}): is the name right, is there a network, is it public?"
        ) from error


def check_name(name: str) -> str:
    """The name, if it can be one of a model on the hub. Raises UserError saying why not."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    if not _NAME.fullmatch(name):
        raise UserError(f"{name!r} is no name of a model on the hub: user/name is needed")
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise UserError(f"{name!r} is no name of a model on the hub: {one_line(error)}") from error
    return name


def push(folder: str | Path, name: str) -> str:
    """Uploads the files of a folder as the model `user/name`; returns the model's address.

    A model that is not there yet is made, and is public. The token is the one that the library
    finds: of HF_TOKEN, or of a login. Raises UserError saying what is in the way.
    """
    import huggingface_hub

    check_name(name)
    if huggingface_hub.get_token() is None:
        raise UserError(
            "there is no token of the Hugging Face hub here: set HF_TOKEN, or log in by `hf auth "
            "login`, with one that may write (https://huggingface.co/settings/tokens)"
        )
    api = huggingface_hub.HfApi()
    try:
        address = api.create_repo(name, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload the model")
    except Exception as error:  # as in `fetch`
        raise UserError(_reason(name, error)) from error
    return str(address)


def _reason(name: str, error: Exception) -> str:
    """One line on what is in the way of an upload."""
    from huggingface_hub.errors import HfHubHTTPError

    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        said = " ".join((error.server_message or "").split()).rstrip(".")
        if status == 401:
            reason = "the Hugging Face hub does not know the token (HF_TOKEN, or that of a login)"
        elif status == 403:
            reason = f"the token may not write {name}: it needs the right to write, and the name "
            reason += "to be the user's own or an organization's of theirs"
        else:
            reason = f"the Hugging Face hub refused {name} with status {status}"
        return f"{reason}; it says: {said}" if said else reason
    if isinstance(error, ValueError):  # of the name, or of the model card
        return f"the Hugging Face hub refused {name}: {one_line(error)}"
    what = f"{type(error).__name__}: {one_line(error, 150)}"
    return f"the Hugging Face hub was not reached, is there a network? ({what})"
