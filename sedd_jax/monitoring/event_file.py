"""TensorBoard event files with scalars, pictures and audio: as much of the format as a run needs.

A file is a sequence of TFRecords (length, its CRC, data, its CRC), each an Event protocol buffer
(tensorflow/core/util/event.proto). Written here because the package that does it imports torch.
"""

import os
import socket
import struct
import time
import wave
from collections.abc import Mapping, Sequence
from pathlib import Path

from sedd_jax.monitoring.media import Medium

_POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected
_SESSION_START = 1
_RGB = 3  # Summary.Image's colorspace


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def _masked_crc(data: bytes) -> bytes:
    """TFRecord's checksum: CRC-32C, rotated and shifted, little-endian."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _field(number: int, value: int | float | str | bytes, *, double: bool = False) -> bytes:
    """A protocol-buffer field: int as varint, float as float or double, the rest by length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        wire, code = (1, "<d") if double else (5, "<f")
        return _varint(number << 3 | wire) + struct.pack(code, value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _medium(medium: Medium) -> bytes:
    """A Summary.Value with an image or audio, and the text that TensorBoard shows beside it."""
    data = medium.path.read_bytes()
    if medium.path.suffix == ".wav":
        with wave.open(str(medium.path)) as audio:
            rate, channels, frames = audio.getframerate(), audio.getnchannels(), audio.getnframes()
        content = _field(1, float(rate)) + _field(2, channels) + _field(3, frames)
        number, content = 6, content + _field(4, data) + _field(5, "audio/wav")
    else:
        width, height = struct.unpack(">II", data[16:24])  # of a PNG's first chunk
        number, content = 4, _field(1, height) + _field(2, width) + _field(3, _RGB)
        content += _field(4, data)
    return _field(1, medium.name) + _field(number, content) + _field(9, _field(3, medium.text))


class EventFile:
    """A new event file in `directory`, made if missing.

    start_step: TensorBoard is told to forget what earlier files say of this step and later ones.
    """

    def __init__(self, directory: str | Path, start_step: int):
        Path(directory).mkdir(parents=True, exist_ok=True)
        # Files are read in the order of their names.
        name = f"events.out.tfevents.{time.time_ns():020d}.{socket.gethostname()}.{os.getpid()}"
        self._file = open(Path(directory) / name, "wb")
        self._write(_field(3, "brain.Event:2"))
        self._write(_field(2, start_step) + _field(7, _field(1, _SESSION_START)))

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Adds scalars, name → value; they are on disk when it returns."""
        values = (_field(1, _field(1, k) + _field(2, float(v))) for k, v in scalars.items())
        self._write(_field(2, step) + _field(5, b"".join(values)))

    def write_media(self, step: int, media: Sequence[Medium]) -> None:
        """Adds pictures and audio; they are on disk when it returns."""
        for medium in media:
            self._write(_field(2, step) + _field(5, _field(1, _medium(medium))))

    def _write(self, event: bytes) -> None:
        event = _field(1, time.time(), double=True) + event
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked_crc(length) + event + _masked_crc(event))
        self._file.flush()

    def close(self) -> None:
        self._file.close()
