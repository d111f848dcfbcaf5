"""Ogg files of several streams, one after another: what `cat a.ogg b.ogg` makes, and radio.

A page: "OggS", version, flags (2: first page of a stream, 4: last), position, the stream's number,
page number, checksum, a table of segment lengths, and their bytes (RFC 3533).
"""

import mmap
from dataclasses import dataclass
from pathlib import Path

_FIRST, _LAST = 2, 4  # flags
_HEADER = 27  # bytes


@dataclass(frozen=True)
class Links:
    """Streams one after another, (start, stop) in bytes each; whether all have their last page."""

    places: tuple[tuple[int, int], ...]
    is_whole: bool


def find_links(path: Path) -> Links | None:
    """The links of an Ogg file, one for most; None of any other file, or damaged pages.

    Streams that run beside each other (a video's picture and sound) are one link. Raises OSError.
    """
    with open(path, "rb") as file:
        if file.read(4) != b"OggS":
            return None
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    with data:
        starts, at, was_first = [], 0, False
        unended: set[bytes] = set()  # numbers of streams
        while at < len(data):
            header = data[at : at + _HEADER]
            if len(header) == _HEADER and header[:4] == b"OggS":
                is_first, is_last, stream = header[5] & _FIRST, header[5] & _LAST, header[14:18]
                num_bytes = (
                    _HEADER + header[26] + sum(data[at + _HEADER : at + _HEADER + header[26]])
                )
            else:
                return None
            if is_first and not was_first:
                starts.append(at)
            (unended.discard if is_last else unended.add)(stream)
            was_first = bool(is_first)
            at += num_bytes
        stops = [*starts[1:], len(data)]
        is_whole = at == len(data) and not unended
        return Links(tuple(zip(starts, stops, strict=True)), is_whole)
