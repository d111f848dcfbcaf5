"""Pictures and audio of TensorBoard's event files, read by the wire format of protocol buffers."""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shown:
    """A value of an event: kind is 4 for an image and 6 for audio, fields are theirs by number."""

    step: int
    tag: str
    kind: int
    fields: dict[int, Any]
    text: str


def message(data: bytes) -> dict[int, Any]:
    """Field number → value, the last one of each: int of a varint, else bytes."""
    fields, place = {}, 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(data):
        key = varint()
        if key & 7 == 0:
            fields[key >> 3] = varint()
            continue
        size = {1: 8, 5: 4}.get(key & 7) or varint()
        fields[key >> 3] = data[place : place + size]
        place += size
    return fields


def read_media(directory: Path) -> list[Shown]:
    """The images and audio of a run's event files, oldest file first, as TensorBoard shows them.

    What a later file starts anew with is forgotten of earlier ones.
    """
    shown: list[Shown] = []
    for path in sorted(directory.iterdir()):
        data = path.read_bytes()
        while data:
            (size,) = struct.unpack("<Q", data[:8])
            event, data = message(data[12 : 12 + size]), data[16 + size :]
            step = event.get(2, 0)
            if message(event.get(7, b"")).get(1) == 1:  # SessionLog.START
                shown = [value for value in shown if value.step < step]
            value = message(message(event.get(5, b"")).get(1, b""))
            for kind in value.keys() & {4, 6}:
                text = message(value.get(9, b"")).get(3, b"").decode()
                shown.append(Shown(step, value[1].decode(), kind, message(value[kind]), text))
    return shown
