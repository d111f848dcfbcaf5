"""The vectors of a track, as CLIP, CLAP or a speaker encoder make them: kind → (W,) float32.

A token dataset has a width W for each kind. They come from .npy files.
"""

import os
from collections.abc import Mapping

import numpy as np

from tokenizer_bridge.token_dataset.errors import UserError, one_line
from tokenizer_bridge.token_dataset.kinds import MAX_WIDTH

Vectors = Mapping[str, np.ndarray]


def check_vectors(vectors: Vectors, widths: Mapping[str, int]) -> None:
    """Raise ValueError unless all are finite, of kinds that there are and of their widths."""
    for kind, vector_W in vectors.items():
        if kind not in widths:
            raise ValueError(f"a vector {kind!r}, which is none of the kinds {list(widths)}")
        if np.shape(vector_W) != (widths[kind],):
            raise ValueError(f"vector {kind!r} has shape {np.shape(vector_W)}, not {widths[kind]}")
        if not np.isfinite(vector_W).all():
            raise ValueError(f"vector {kind!r} has numbers that are not finite")


def pack(vectors: Vectors) -> dict[str, bytes]:
    """The form in which a record holds them: little-endian fp32."""
    return {k: np.ascontiguousarray(vectors[k], dtype="<f4").tobytes() for k in sorted(vectors)}


def unpack(packed: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """The inverse of `pack`."""
    return {kind: np.frombuffer(raw, "<f4").astype(np.float32) for kind, raw in packed.items()}


def read_npy(path: str | os.PathLike, most_dimensions: int = 1) -> np.ndarray:
    """The vector (W,) in an .npy file, as float32; a matrix (N, W), too, of two dimensions.

    Its header is looked at before its numbers are read. Raises UserError naming the file.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or one_line(error)}") from error
    except (ValueError, EOFError) as error:
        raise UserError(f"{path} is no whole .npy file of numbers") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{path} holds several arrays: an .npy file with one is needed")
    if array.dtype.kind not in "fiu":
        raise UserError(f"{path} holds {array.dtype}, where numbers are needed")
    if not 1 <= array.ndim <= most_dimensions or not 0 < array.shape[-1] <= MAX_WIDTH:
        wanted = "(width,)" if most_dimensions == 1 else "(width,) or (samples, width)"
        raise UserError(
            f"{path} has shape {array.shape}: {wanted} is needed, at most {MAX_WIDTH:,} wide"
        )
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and named below
        numbers = np.array(array, np.float32)
    if not np.isfinite(numbers).all():
        raise UserError(f"{path} has numbers that are not finite (NaN or infinite in float32)")
    return numbers
