"""A report's references by name, and values that may differ between them, from text."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from tokenizer_bridge import sources
from tokenizer_bridge.reporting.names import GENERATED
from tokenizer_bridge.token_dataset.errors import UserError

T = TypeVar("T", int, float)

CLIP_S = 10.0
_CLIP_S_OF = {"nlakh": 4.9}  # seconds, of about 5 s that its pieces have: five windows of VGGish
_MOST = 1e9  # of anything that is counted or lasts; what is beyond fits no float


@dataclass(frozen=True)
class Reference:
    """Real music that generated music is compared with. source: of tokenizer_bridge.sources."""

    name: str
    source: str
    directory: str

    @property
    def clip_s(self) -> float:
        """Seconds of a clip, unless others are asked for."""
        return _CLIP_S_OF.get(self.source, CLIP_S)


def parse_references(values: Sequence[str]) -> list[Reference]:
    """NAME=DIR or NAME=SOURCE:DIR each; without SOURCE it is told by the directory's layout.

    Raises UserError, also for names given twice and directories that are not there.
    """
    references: dict[str, Reference] = {}
    for value in values:
        name, equals, directory = value.partition("=")
        if not equals or not directory or not re.fullmatch(r"[\w.-]+", name):
            raise UserError(f"{value}: write NAME=DIR, or NAME=SOURCE:DIR")
        if name in references or name == GENERATED:
            raise UserError(f"{value}: the name {name!r} is taken, choose another")
        source, directory = sources.locate(directory)
        references[name] = Reference(name, source, directory)
    return list(references.values())


def parse_per_name(values: Sequence[str], defaults: Mapping[str, T], least: T) -> dict[str, T]:
    """A number for each name in `defaults`: VALUE holds for all of them, NAME=VALUE for one.

    Raises UserError for what is no such number, less than `least`, or of an unknown name.
    """
    kind: Callable[[str], T] = type(least)
    word = "a whole number" if kind is int else "a number"
    general, special = {}, {}
    for value in values:
        name, equals, text = value.rpartition("=")
        if equals and name not in defaults:
            raise UserError(f"{value}: no set is called {name!r}, only {', '.join(defaults)}")
        try:
            parsed = kind(text)
        except ValueError:
            raise UserError(f"{value}: {word} is needed") from None
        if not least <= parsed <= _MOST:
            raise UserError(
                f"{value[:40]}: {word} of at least {least:g} is needed, below {_MOST:g}"
            )
        if equals:
            special[name] = parsed
        else:
            general = dict.fromkeys(defaults, parsed)
    return {**defaults, **general, **special}


def parse_paths(values: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """NAME=PATH each, by name. Raises UserError."""
    paths = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not path or name not in names:
            raise UserError(f"{value}: write NAME=PATH, NAME one of {', '.join(names)}")
        paths[name] = path
    return paths
