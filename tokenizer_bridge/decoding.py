"""Codes to audio: windows of many pieces share a batch, and are joined with cross-fades."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch

from tokenizer_bridge.audio.windows import Windowing, batches_of_equal_length, join_audio
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.registry import CodecInfo

K = TypeVar("K")


@dataclass
class _Progress(Generic[K]):
    """What has come of one piece so far."""

    key: K
    num_windows: int
    pieces: list[tuple[int, np.ndarray]] = field(default_factory=list)  # (start, audio)


@dataclass(frozen=True)
class _Window(Generic[K]):
    progress: _Progress[K]
    start: int
    codes: np.ndarray  # (L,) int64


def decode_pieces(
    codec: WavTokenizer,
    pieces: Iterable[tuple[K, np.ndarray]],
    windowing: Windowing,
    batch_size: int,
) -> Iterator[tuple[K, np.ndarray]]:
    """From (key, codes (L,)) to (key, audio (L·hop,) float32), in the order in which they are done.

    codec: in eval mode; its device is used. batch_size: windows of equal length that go through it
    at once. Codes are integers below the codec's codebook_size, at least one a piece. Audio is not
    clipped.
    """

    def windows() -> Iterator[_Window[K]]:
        for key, codes in pieces:
            starts = windowing.starts(len(codes))
            progress = _Progress(key, len(starts))
            for start in starts:
                window = codes[start : start + windowing.length].astype(np.int64)
                yield _Window(progress, start, window)

    batches = batches_of_equal_length(windows(), lambda window: len(window.codes), batch_size)
    for batch in batches:
        starts_B = np.array([window.start for window in batch])
        audio_BxT = decode_batch(codec, np.stack([window.codes for window in batch]), starts_B)
        for window, audio_T in zip(batch, audio_BxT, strict=True):
            progress = window.progress
            # A copy, made when the batch's tensors are free again: see encoding.py.
            progress.pieces.append((window.start, audio_T.copy()))
            if len(progress.pieces) == progress.num_windows:
                hop = codec.config.hop_length
                yield progress.key, join_audio(progress.pieces, windowing.overlap, hop)


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
    """What a file says of itself in its header: a digest of all that its audio depends on."""
    windows = hashlib.sha256(str(windowing).encode()).hexdigest()[:8]
    return f"{stamp_of_tokens(codes_L, info)} {windows}"


def stamp_of_tokens(codes_L: np.ndarray, info: CodecInfo) -> str:
    """How the stamp of these tokens' audio begins, in whatever windows it was decoded."""
    digest = hashlib.sha256(codes_L.astype("<u2").tobytes())
    digest.update(info.weights_sha256.encode())
    return f"decoded {digest.hexdigest()[:32]}"
