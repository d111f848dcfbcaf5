"""TensorBoard event files with scalars: the few bytes of the format that a run needs.

A file is a sequence of TFRecords (length, its CRC, data, its CRC), each an Event protocol buffer
(tensorflow/core/util/event.proto). Written here because the package that does it imports torch.
"""

import os
import socket
import struct
import time
from collections.abc import Mapping
from pathlib import Path

_POLYNOMIAL = 0x82F63B78  # CRC-32C, reflected
_SESSION_START = 1


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

    def _write(self, event: bytes) -> None:
        event = _field(1, time.time(), double=True) + event
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked_crc(length) + event + _masked_crc(event))
        self._file.flush()

    def close(self) -> None:
        self._file.close()
