"""The header of a WAV file, and MP3 in one.

A WAV's header names a codec. libsndfile believes the length that stands beside it; that of MP3
(WAVEFORMATEX tag 0x0055, or 0x0050 for layers 1 and 2) is wrong in files by ffmpeg, whose last
frames are not whole.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_MPEG_TAGS = (0x0050, 0x0055)
_PCM_TAGS = (0x0001, 0x0003)  # integers, floats
_EXTENSIBLE = 0xFFFE  # the tag stands further behind
_STRAY = 1024  # bytes that may be anything


@dataclass(frozen=True)
class WavHeader:
    """The part before the data, and what is there.

    tag: the codec. start, num_bytes: of the data, as the header has it; file_bytes: that there are;
    stray_bytes: behind the data, that are no chunk.
    """

    tag: int
    channels: int
    sample_rate: int
    bytes_per_s: int
    bytes_per_frame: int
    bits: int
    start: int
    num_bytes: int
    file_bytes: int
    stray_bytes: int

    @property
    def holds_mpeg(self) -> bool:
        return self.tag in _MPEG_TAGS

    @property
    def is_cut_short(self) -> bool:
        """Programs that write to a pipe leave a length that no file has: that is no sign of it."""
        return self.file_bytes - self.start < self.num_bytes < 2**31 - 2**16

    @property
    def announces_nothing(self) -> bool:
        """True if a recorder did not come to write the length."""
        return self.num_bytes == 0 and self.file_bytes - self.start > _STRAY

    def contradiction(self) -> str | None:
        """The reason why the header of integers or floats cannot be true; None if it can."""
        if self.tag not in _PCM_TAGS:
            return None
        frame = self.channels * -(-self.bits // 8)
        if self.bytes_per_frame != frame:
            return (
                f"{self.channels} channels of {self.bits} bits, in {self.bytes_per_frame} bytes "
                f"instead of {frame}"
            )
        if self.bytes_per_s not in (0, frame * self.sample_rate):
            return (
                f"{self.sample_rate:,} Hz, and {self.bytes_per_s:,} bytes a second, which is "
                f"{self.bytes_per_s / frame:,.0f} Hz"
            )
        if self.num_bytes and self.stray_bytes > max(_STRAY, frame * self.sample_rate):
            return f"{self.num_bytes:,} bytes of audio, and {self.stray_bytes:,} follow"
        return None


def read_header(path: Path) -> WavHeader | None:
    """The header of a WAV; None of any other file, or without both chunks. Raises OSError."""
    with open(path, "rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        format_ = b""
        while len(chunk := file.read(8)) == 8:
            size = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                break
            if chunk[:4] == b"fmt ":
                format_ = file.read(size)
                file.seek(size % 2, 1)
            else:
                file.seek(size + size % 2, 1)
        if len(chunk) < 8 or len(format_) < 16:
            return None
        start = file.tell()
        file_bytes = file.seek(0, 2)
        stray_bytes = _stray_bytes(file, start + size + size % 2, file_bytes)

    def number(at: int, count: int) -> int:
        return int.from_bytes(format_[at : at + count], "little")

    return WavHeader(
        tag=number(0, 2) if number(0, 2) != _EXTENSIBLE else number(24, 2),
        channels=number(2, 2),
        sample_rate=number(4, 4),
        bytes_per_s=number(8, 4),
        bytes_per_frame=number(12, 2),
        bits=number(14, 2),
        start=start,
        num_bytes=size,
        file_bytes=file_bytes,
        stray_bytes=stray_bytes,
    )


def _stray_bytes(file: BinaryIO, at: int, file_bytes: int) -> int:
    """The bytes at the end of a file that belong to no chunk, from where a chunk should begin."""
    while at + 8 <= file_bytes:
        file.seek(at)
        name, size = file.read(4), int.from_bytes(file.read(4), "little")
        if not all(0x20 <= byte < 0x7F for byte in name) or at + 8 + size > file_bytes:
            return file_bytes - at
        at += 8 + size + size % 2
    return 0


def read_data(path: Path, header: WavHeader) -> bytes:
    """The bytes of the data chunk, those that are there. Raises OSError."""
    with open(path, "rb") as file:
        file.seek(header.start)
        return file.read(header.num_bytes)
