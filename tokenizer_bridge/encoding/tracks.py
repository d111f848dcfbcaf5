"""Tracks to codes: files are read in threads, windows of many tracks share a batch."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tokenizer_bridge.audio.read import AudioError, require_sha256, stream_mono
from tokenizer_bridge.audio.windows import (
    Windowing,
    batches_of_equal_length,
    cut_audio,
    join_codes,
)
from tokenizer_bridge.cleaning import Cleaning
from tokenizer_bridge.encoding.prefetch import Prefetcher
from tokenizer_bridge.sources import Track
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

_NUM_READERS = 2  # threads; the C code that reads and resamples for them runs in parallel


@dataclass(frozen=True)
class Encoded:
    """A track, its codes, (L,) uint16, and what cleaning did (`CleanTrack.figures`)."""

    track: Track
    codes: np.ndarray
    duration_s: float
    cleaning: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A track that could not be used, and why."""

    track: Track
    reason: str


@dataclass
class _Progress:
    """What has come of one track so far."""

    track: Track
    pieces: list[tuple[int, np.ndarray]] = field(default_factory=list)  # (start, codes)
    reached: int = 0  # samples that the windows encoded so far cover
    end: "_End | None" = None


@dataclass(frozen=True)
class _Window:
    progress: _Progress
    start: int  # in codes
    audio: np.ndarray  # (T,)


@dataclass(frozen=True)
class _End:
    """The notice that a track has been read to its end."""

    progress: _Progress
    num_windows: int
    num_samples: int
    cleaning: Mapping[str, Any]


_Message = _Window | _End | Failure


def encode_tracks(
    codec: WavTokenizer,
    tracks: Sequence[Track],
    windowing: Windowing,
    batch_size: int,
    on_audio: Callable[[float], None] = lambda seconds: None,
    cleaning: Cleaning | None = None,
) -> Iterator[Encoded | Failure]:
    """Encode tracks, each yielded once, in the order in which they are done.

    codec: in eval mode; its device is used. batch_size: windows of equal length that go through it
    at once. on_audio: told the seconds of audio after each batch, overlaps once. cleaning: what is
    done to the audio before. Memory holds a few batches of windows, however long tracks are.
    """
    hop, sample_rate = codec.config.hop_length, codec.config.sample_rate
    # A track is done after its last window or, if that was encoded before the reader came to the
    # file's end, after the notice of the end: whichever comes last.
    done: list[Encoded | Failure] = []

    def finish_if_complete(progress: _Progress) -> None:
        if progress.end and len(progress.pieces) == progress.end.num_windows:
            codes = join_codes(progress.pieces, windowing.overlap)
            end = progress.end
            seconds = end.num_samples / sample_rate
            done.append(Encoded(progress.track, codes, seconds, end.cleaning))

    def windows(messages: Iterable[_Message]) -> Iterator[_Window]:
        for message in messages:
            if isinstance(message, _Window):
                yield message
            elif isinstance(message, Failure):
                done.append(message)
            else:
                message.progress.end = message
                finish_if_complete(message.progress)

    def read(track: Track) -> Iterator[_Message]:
        return _read_track(track, windowing, sample_rate, hop, cleaning)

    with Prefetcher(tracks, read, _NUM_READERS, capacity=2 * batch_size) as messages:
        batches = batches_of_equal_length(
            windows(messages), lambda window: len(window.audio), batch_size
        )
        for batch in batches:
            codes_BxL = encode_batch(codec, np.stack([window.audio for window in batch]))
            for window, codes_L in zip(batch, codes_BxL, strict=True):
                # A copy, made when the batch's tensors are free again: the original lies between
                # them, and kept for a track's length it would split that memory for good.
                window.progress.pieces.append((window.start, codes_L.astype(np.uint16)))
                finish_if_complete(window.progress)
            on_audio(sum(_fresh_samples(window, hop) for window in batch) / sample_rate)
            yield from done
            done.clear()
        yield from done


def _fresh_samples(window: _Window, hop: int) -> int:
    """Samples of a window that none of its track's before had; noted in the progress."""
    progress, end = window.progress, window.start * hop + len(window.audio)
    fresh = max(0, end - progress.reached)
    progress.reached += fresh
    return fresh


def encode_batch(codec: WavTokenizer, audio_BxT: np.ndarray) -> np.ndarray:
    """Codes (B, L) int64 of float32 audio (B, T), each row on its own."""
    device = next(codec.parameters()).device
    with torch.inference_mode():
        return codec.encode(torch.from_numpy(audio_BxT).to(device)).cpu().numpy()


def encode_windowed(codec: WavTokenizer, audio_T: np.ndarray, windowing: Windowing) -> np.ndarray:
    """Codes (L,) of one piece of audio (T,), cut into windows and joined."""
    pieces = [
        (start, encode_batch(codec, window_T[None])[0])
        for start, window_T in cut_audio([audio_T], windowing, codec.config.hop_length)
    ]
    return join_codes(pieces, windowing.overlap)


def window_agreement(codec: WavTokenizer, audio_T: np.ndarray, windowing: Windowing) -> float:
    """The share of codes that windows leave equal to those of encoding (T,) audio in one piece."""
    whole_L = encode_batch(codec, audio_T[None])[0]
    return float(np.mean(encode_windowed(codec, audio_T, windowing) == whole_L))


def _read_track(
    track: Track, windowing: Windowing, sample_rate: int, hop: int, cleaning: Cleaning | None
) -> Iterator[_Message]:
    """A track's windows, then the notice of its end; or, at any point, the last, a Failure."""
    progress = _Progress(track)
    num_samples = num_windows = 0
    figures: Mapping[str, Any] = {}

    def read() -> Iterator[np.ndarray]:
        return stream_mono(track.path, sample_rate)

    def counted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal num_samples
        for block in blocks:
            num_samples += len(block)
            yield block

    try:
        if track.sha256 is not None:
            require_sha256(track.path, track.sha256)
        blocks = read()
        if cleaning is not None:
            # Here, because importing SciPy takes a second that others need not spend.
            from tokenizer_bridge.cleaning.track import CleanTrack

            clean = CleanTrack(read, sample_rate, cleaning)
            blocks, figures = clean.blocks(), clean.figures
        for start, audio in cut_audio(counted(blocks), windowing, hop):
            num_windows += 1
            yield _Window(progress, start, audio)
    except AudioError as error:
        yield Failure(track, str(error))
    else:
        yield _End(progress, num_windows, num_samples, figures)
