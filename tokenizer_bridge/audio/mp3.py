"""The true length of an MP3, by its frames, and an index for one that has none.

A frame is a header of 4 bytes and a fixed number of samples. The first frame of most files is an
index instead (Xing or Info), which says how many follow. libsndfile believes it; of a file without
one it guesses the length from the first frame's bit rate, which misses by a factor where bit rates
vary, and reads no further. Headers: ISO/IEC 11172-3 and 13818-3; the index is LAME's.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# kbit/s by bit rate index, from 1: of MPEG-1, layers 1 to 3; of MPEG-2 and 2.5, layer 1 and others.
_RATES_1 = {
    1: (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    2: (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    3: (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
}
_RATES_2 = {
    1: (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    2: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    3: (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {
    3: (44_100, 48_000, 32_000),
    2: (22_050, 24_000, 16_000),
    0: (11_025, 12_000, 8_000),
}
_SAME = 0xFFFE_0C00  # bits that all headers of a file share: sync, version, layer, sample rate
_MONO = 3  # channel mode
_SEARCHED = 2**14  # bytes behind tags in which a first frame is looked for


@dataclass(frozen=True)
class Survey:
    """A file's length by its frames.

    indexed: samples that its index announces; None without one. found: samples of the frames that
    are there; None where the index accounts for the whole file, and nothing was counted. start: of
    the frames, behind tags and index, in bytes.
    """

    layer: int
    indexed: int | None
    found: int | None
    start: int


def survey(source: Path | bytes) -> Survey | None:
    """The length of a file, or of what was in one; None without frames of a known size (of free
    format, or none at all)."""
    with _reading(source) as file:
        start = _skip_tags(file)
        size = file.seek(0, io.SEEK_END)
        file.seek(start)
        head = file.read(_SEARCHED)
        offset = _next_frame(head, 0)
        if offset is None:
            return None
        start += offset
        header = _Header.parse(head[offset:])
        first_frame = head[offset : offset + header.num_bytes]
        indexed = None
        if header.layer == 3 and (index := _read_index(first_frame, header)):
            num_frames, num_bytes = index
            indexed = num_frames * header.num_samples
            missing = abs(size - start - num_bytes)
            start += header.num_bytes
            # A lie about the frames shows where they would be larger than any.
            possible = num_bytes <= num_frames * header.largest
            if indexed and possible and missing <= num_bytes // 100:
                return Survey(header.layer, indexed, None, start)
        file.seek(start)
        found = _count_frames(file.read(), header) * header.num_samples
        return Survey(header.layer, indexed or None, found, start)


def with_index(source: Path | bytes, survey: Survey) -> io.BytesIO:
    """The frames of a layer 3 file, in memory, behind an index that announces what was found."""
    with _reading(source) as file:
        file.seek(survey.start)
        content = file.read()
    content = content[_next_frame(content, 0) :]
    header = _Header.parse(content)
    # The same kind of frame at a rate that makes room for an index, unpadded and without checksum.
    header = _Header.of(header.bits & ~0xF200 | 9 << 12 | 1 << 16)
    num_frames = survey.found // header.num_samples
    fields = b"Xing" + (1).to_bytes(4, "big") + num_frames.to_bytes(4, "big")
    frame = header.bits.to_bytes(4, "big") + bytes(header.side_bytes) + fields
    return io.BytesIO(frame.ljust(header.num_bytes, b"\0") + content)


@dataclass(frozen=True)
class _Header:
    bits: int
    layer: int
    num_bytes: int  # of the frame, with the header
    num_samples: int
    side_bytes: int  # between header and data of layer 3 (without a checksum)

    @property
    def largest(self) -> int:
        """The bytes of a frame of the highest bit rate, of the same kind."""
        return _Header.of(self.bits & ~0xF200 | 14 << 12 | 1 << 9).num_bytes

    @classmethod
    def parse(cls, data: bytes) -> "_Header | None":
        """Read a frame's first 4 bytes; None if they begin no frame of a known size."""
        return cls.of(int.from_bytes(data[:4], "big"))

    @classmethod
    def of(cls, bits: int) -> "_Header | None":
        version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)  # version 3: MPEG-1; 2, 0: 2 and 2.5
        rate, sample_rate = bits >> 12 & 15, bits >> 10 & 3
        if bits >> 21 != 0x7FF or version == 1 or layer == 4 or rate in (0, 15) or sample_rate == 3:
            return None
        is_first = version == 3
        bits_per_s = 1000 * (_RATES_1 if is_first else _RATES_2)[layer][rate - 1]
        hertz, padding = _SAMPLE_RATES[version][sample_rate], bits >> 9 & 1
        num_samples = 384 if layer == 1 else 1152 if is_first or layer == 2 else 576
        slot_bytes = 4 if layer == 1 else 1
        slots = num_samples * bits_per_s // (8 * slot_bytes * hertz) + padding
        is_mono = bits >> 6 & 3 == _MONO
        side_bytes = (17 if is_mono else 32) if is_first else (9 if is_mono else 17)
        return cls(bits, layer, slots * slot_bytes, num_samples, side_bytes)


def _reading(source: Path | bytes) -> BinaryIO:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def _skip_tags(file: BinaryIO) -> int:
    """The end of a file's ID3v2 tags, in bytes."""
    start = 0
    while True:
        file.seek(start)
        tag = file.read(10)
        if len(tag) < 10 or tag[:3] != b"ID3":
            return start
        size = 0
        for byte in tag[6:]:
            size = size << 7 | byte & 0x7F
        start += 10 + size + (10 if tag[5] & 0x10 else 0)  # a footer


def _read_index(frame: bytes, header: _Header) -> tuple[int, int] | None:
    """Frames and bytes that a first frame announces, 0 where it does not say; None of no index."""
    fields = frame[4 + header.side_bytes :]
    if frame[36:40] == b"VBRI":  # Fraunhofer's: libsndfile does not know it
        return 0, 0
    if fields[:4] not in (b"Xing", b"Info"):
        return None
    flags, first, second = (int.from_bytes(fields[i : i + 4], "big") for i in (4, 8, 12))
    num_frames = first if flags & 1 else 0
    return num_frames, (second if flags & 1 else first) if flags & 2 else 0


def _next_frame(data: bytes, start: int) -> int | None:
    """The first place from `start` on where a frame begins that its like, or the end, follows."""
    while (start := data.find(b"\xff", start)) >= 0:
        header = _Header.parse(data[start : start + 4])
        if header is not None:
            end = start + header.num_bytes
            following = int.from_bytes(data[end : end + 4], "big")
            if end == len(data) or (following ^ header.bits) & _SAME == 0:
                return start
        start += 1
    return None


def _count_frames(data: bytes, first: _Header) -> int:
    """Whole frames of a kind, wherever they are: tags and damage between them are passed over."""
    count = start = 0
    num_bytes: dict[int, int] = {}  # by the bits of a header that a frame's size depends on
    while start + 4 <= len(data):
        bits = int.from_bytes(data[start : start + 4], "big")
        size = num_bytes.get(bits & 0xF200)
        if size is None and (header := _Header.of(first.bits & ~0xF200 | bits & 0xF200)):
            size = num_bytes[bits & 0xF200] = header.num_bytes
        if size is None or (bits ^ first.bits) & _SAME:
            found = _next_frame(data, start + 1)
            if found is None:
                break
            start = found
        elif start + size <= len(data):
            count += 1
            start += size
        else:
            break
    return count
