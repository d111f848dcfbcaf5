"""dataset.json: the description of a token dataset, read and checked."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.kinds import check_widths

FORMAT_VERSION = 1
DATASET_FILE = "dataset.json"
_CODEC_TYPES = {
    "name": str, "weights_sha256": str, "sample_rate": int, "hop_length": int, "codebook_size": int,
}  # fmt: skip
_SHARD_TYPES = {
    "file": str, "num_records": int, "num_tokens": int, "num_bytes": int, "sha256": str,
}  # fmt: skip
CODEC_KEYS = tuple(_CODEC_TYPES)

MAX_CODEBOOK_SIZE = 2**16  # tokens are stored as uint16


def read_description(directory: Path, name: str = DATASET_FILE) -> dict[str, Any]:
    """dataset.json, or what it is called so far, its shape checked. Raises UserError."""
    path = directory / name
    if not directory.is_dir():
        raise UserError(f"{directory} is not a directory: a token dataset is one")
    if not path.exists():
        raise UserError(
            f"{directory} is not a whole token dataset, it has no {DATASET_FILE}: encode music "
            "into one, or run the command that makes it again to finish it"
        )
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    version = meta.get("format_version") if isinstance(meta, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{path}: format_version {version!r} is unknown, this program reads {FORMAT_VERSION}"
        )
    meta = {"origin": {}, "vectors": {}} | meta
    try:
        _require_types(meta, {"codec": dict, "origin": dict, "splits": dict})
        check_codec(meta["codec"])
        check_widths(meta["vectors"])
        for split in meta["splits"].values():
            _require_types(split, {"lengths": list, "shards": list})
            if not all(type(length) is int and 0 < length < 2**31 for length in split["lengths"]):
                raise ValueError("lengths of tracks must be whole numbers above 0")
            for shard in split["shards"]:
                _require_types(shard, _SHARD_TYPES)
                if os.path.basename(shard["file"]) != shard["file"]:
                    raise ValueError(f"shard {shard['file']!r} lies elsewhere")
    except ValueError as error:
        raise UserError(f"{path}: {error}: it was changed or cut short") from error
    return meta


def codec_difference(codec: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """The first key in which two descriptions are of different codecs; None for the same codec.

    Names do not matter unless the weights of either are not known, their SHA-256 being "".
    """
    known = codec["weights_sha256"] and other["weights_sha256"]
    keys = ["weights_sha256" if known else "name", *CODEC_KEYS[2:]]
    return next((key for key in keys if codec[key] != other[key]), None)


def check_codec(codec: Any) -> None:
    """Raise ValueError unless this is a map as dataset.json's "codec"."""
    _require_types(codec, _CODEC_TYPES)
    if codec["codebook_size"] > MAX_CODEBOOK_SIZE:
        raise ValueError(f"codebook_size {codec['codebook_size']} does not fit uint16")


def _require_types(values: Any, types: Mapping[str, type]) -> None:
    """Raise ValueError unless `values` is a map with these types; numbers must be above 0."""
    if not isinstance(values, dict):
        raise ValueError(f"{values!r} stands where a map of {', '.join(types)} belongs")
    for key, kind in types.items():
        if key not in values:
            raise ValueError(f"lacks {key!r}")
        if type(values[key]) is not kind or (kind is int and not 0 < values[key] < 2**63):
            raise ValueError(f"{key} is {values[key]!r}")
