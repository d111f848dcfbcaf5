"""Pictures of tokens, and the files of pictures and audio that a run shows beside its figures."""

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_ROWS = 32  # of a picture of tokens
_PIXELS = 4  # of a row's height
_LEAST_WIDTH = 512  # pixels, about


@dataclass(frozen=True)
class Medium:
    """A picture or a sound, by the suffix of its file: .png (RGB) or .wav (PCM).

    name: what it is shown as; that of another step is shown in its place. text: shown beside it.
    """

    name: str
    path: Path
    text: str = ""


def token_picture(tokens_L: np.ndarray, num_codes: int) -> bytes:
    """A PNG with a mark for each token: time to the right, a code's number upwards.

    Codes that share one of the rows differ in colour, so that what looks alike is the same code: a
    held one is a line, and what is repeated is seen as such. tokens_L: integers in [0, num_codes).
    """
    place_L = tokens_L.astype(np.float64) / num_codes * _ROWS
    row_L = place_L.astype(np.int64)
    phase_Lx3 = (place_L - row_L)[:, None] + np.array([[0.0, 1 / 3, 2 / 3]])
    colour_Lx3 = (110 + 100 * np.cos(2 * np.pi * phase_Lx3)).astype(np.uint8)  # dark on white
    picture_RxLx3 = np.full((_ROWS, len(tokens_L), 3), 255, np.uint8)
    picture_RxLx3[_ROWS - 1 - row_L, np.arange(len(tokens_L))] = colour_Lx3
    across = max(1, round(_LEAST_WIDTH / len(tokens_L)))
    return png(picture_RxLx3.repeat(_PIXELS, axis=0).repeat(across, axis=1))


def png(rgb_HxWx3: np.ndarray) -> bytes:
    """The PNG file (ISO 15948) of a picture, uint8 RGB."""
    height, width, _ = rgb_HxWx3.shape
    rows_HxW = np.pad(rgb_HxWx3.reshape(height, 3 * width), ((0, 0), (1, 0)))  # 0: no filter
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows_HxW.tobytes(), 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
