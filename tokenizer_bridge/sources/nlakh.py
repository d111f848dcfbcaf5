"""Nlakh: short clips of one instrument (Nlakh-single) and of mixtures (Nlakh-multi).

    Nlakh-single/train/001/0001.wav          a folder per instrument, a file per clip
    Nlakh-multi/valid/000001/mix.wav         a folder per clip; its stems (124.wav …) are left out

The official `valid` is the split "validation". Artists and tags are unknown. (Kim et al., "Show Me
the Instruments: Musical Instrument Retrieval from Mixture Audio", 2022;
github.com/minju0821/musical_instrument_retrieval, dataset/README.md.)
"""

import os
from collections.abc import Iterator
from pathlib import Path

from tokenizer_bridge.sources.track import Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import as_text

_SINGLE, _MULTI = _PARTS = ("Nlakh-single", "Nlakh-multi")
_SPLITS = {"train": "train", "valid": "validation"}  # official name -> ours
_MIX = "mix.wav"


def is_layout_of(directory: Path) -> bool:
    """True if a directory is one of the two parts, by its name and splits, or holds one."""
    return any(_has_split(part) and _official_name(part) for part in _parts(directory))


def tracks(directory: str | os.PathLike) -> list[Track]:
    """The clips of Nlakh-single or Nlakh-multi, or of both where `directory` holds both.

    The id is the path inside `directory`. A folder of Nlakh-multi without mix.wav is a track whose
    file is missing. Raises UserError if there is no clip at all.
    """
    root = Path(directory)
    found = [
        Track(as_text(path.relative_to(root)), path, split=_SPLITS[split])
        for part in _parts(root)
        for split in _SPLITS
        for path in _clips(part, split)
    ]
    if not found:
        raise UserError(
            f"{directory}: not Nlakh: it holds neither {' nor '.join(_PARTS)}, nor the "
            "folders train and valid of one of them"
        )
    return sorted(found, key=lambda track: track.id)


def _parts(directory: Path) -> list[Path]:
    """The parts that a directory holds, or the directory itself."""
    return [folder for folder in _folders(directory) if _official_name(folder)] or [directory]


def _official_name(directory: Path) -> str | None:
    """The name of a part, in whatever case: the archives are called nlakh-single, nlakh-multi."""
    names = {name.lower(): name for name in _PARTS}
    return names.get(directory.name.lower()) or names.get(directory.resolve().name.lower())


def _has_split(part: Path) -> bool:
    return any((part / split).is_dir() for split in _SPLITS)


def _clips(part: Path, split: str) -> Iterator[Path]:
    if not (part / split).is_dir():
        return
    is_multi = _is_multi(part)
    for folder in _folders(part / split):
        if is_multi:
            yield folder / _MIX
        else:
            files = (path for path in folder.iterdir() if path.suffix == ".wav")
            yield from (path for path in files if not path.name.startswith("."))


def _is_multi(part: Path) -> bool:
    """True if it is the multi part, by its official name or, if renamed, by a mixture in it."""
    if name := _official_name(part):
        return name == _MULTI
    return any((folder / _MIX).exists() for split in _SPLITS for folder in _folders(part / split))


def _folders(directory: Path) -> list[Path]:
    if not directory.is_dir():
        return []
    return [path for path in directory.iterdir() if path.is_dir() and path.name[0] != "."]
