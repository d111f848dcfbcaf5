"""Codes to audio: windows of many pieces share a batch, and are joined with cross-fades."""

import functools
import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import torch

from tokenizer_bridge.audio.windows import Window, Windowing, in_batches, join_audio
from tokenizer_bridge.devices import map_in_threads
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.registry import CodecInfo

Key = TypeVar("Key")


@dataclass(frozen=True, eq=False, kw_only=True)
class _PieceWindow(Window, Generic[Key]):
    """A window of a piece's codes, (L,) int64."""

    key: Key


def decode_pieces(
    codec: WavTokenizer,
    pieces: Iterable[tuple[Key, np.ndarray]],
    windowing: Windowing,
    batch_size: int,
    num_threads: int | None = None,
) -> Iterator[tuple[Key, np.ndarray]]:
    """Turn (key, codes (L,)) into (key, audio (L·hop,) float32); yields each when it is done.

    codec: in eval mode; its device is used. batch_size: windows of equal length that go through it
    at once. num_threads: on a CPU, as in `map_in_threads`. Codes are integers below the codec's
    codebook_size, at least one a piece. Audio is not clipped.
    """

    def windows() -> Iterator[_PieceWindow[Key]]:
        for key, codes_L in pieces:
            results: list[tuple[int, np.ndarray]] = []
            starts = windowing.starts(len(codes_L))
            for start in starts:
                yield _PieceWindow(
                    start=start,
                    content=codes_L[start : start + windowing.length].astype(np.int64),
                    results=results,
                    is_last=start == starts[-1],
                    key=key,
                )

    hop = codec.config.hop_length
    on_cpu = next(codec.parameters()).device.type == "cpu"
    process = functools.partial(decode_batch, codec)
    mapping = functools.partial(map_in_threads, num_threads=num_threads) if on_cpu else map
    for batch in in_batches(windows(), process, batch_size, mapping):
        for last in (window for window in batch if window.is_last):
            yield last.key, join_audio(last.results, windowing.overlap, hop)


def decode_batch(
    codec: WavTokenizer, codes_BxL: np.ndarray, starts_B: np.ndarray | None = None
) -> np.ndarray:
    """Audio (B, L·hop) float32 of int64 codes (B, L), each row on its own.

    starts_B: int64, where in its piece each row starts, in codes; 0 if not given.
    """
    device = next(codec.parameters()).device
    first_B = None if starts_B is None else torch.from_numpy(starts_B).to(device)
    with torch.inference_mode():
        audio_BxT = codec.decode(torch.from_numpy(codes_BxL).to(device), first_B)
        return audio_BxT.float().cpu().numpy()


def stamp_of(codes_L: np.ndarray, info: CodecInfo, windowing: Windowing) -> str:
    """A digest of all that a piece's audio depends on, which a file carries in its header."""
    windows = hashlib.sha256(str(windowing).encode()).hexdigest()[:8]
    return f"{stamp_of_tokens(codes_L, info)} {windows}"


def stamp_of_tokens(codes_L: np.ndarray, info: CodecInfo) -> str:
    """The beginning of the stamp of these tokens' audio, in whatever windows it was decoded."""
    digest = hashlib.sha256(codes_L.astype("<u2").tobytes())
    digest.update(info.weights_sha256.encode())
    return f"decoded {digest.hexdigest()[:32]}"
