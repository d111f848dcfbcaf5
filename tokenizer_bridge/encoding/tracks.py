"""Tracks to codes: files are read in threads, windows of many tracks share a batch."""

import functools
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from tokenizer_bridge.audio.errors import ChannelsCancelError
from tokenizer_bridge.audio.read import (
    PREPARATION,
    AudioError,
    Preparation,
    PreparedFile,
    require_sha256,
)
from tokenizer_bridge.audio.windows import Window, Windowing, cut_audio, in_batches, join_codes
from tokenizer_bridge.cleaning import Cleaning
from tokenizer_bridge.devices import map_in_threads, one_core_an_operation
from tokenizer_bridge.encoding.prefetch import Prefetcher
from tokenizer_bridge.sources import Failure, Track
from tokenizer_bridge.sources.stored import at_hand
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

DIGEST_BYTES = 16
_NUM_READERS = 2  # threads; the C code that reads and resamples for them runs in parallel


@dataclass(frozen=True)
class Encoded:
    """A track, its codes, (L,) uint16, and what cleaning did (`CleanTrack.figures`).

    channel: the one that was encoded alone, from 0; None where all were mixed. digest: of what the
    codec was given; equal audio has an equal one.
    """

    track: Track
    codes: np.ndarray
    duration_s: float
    digest: str
    cleaning: Mapping[str, Any] = field(default_factory=dict)
    channel: int | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class _TrackWindow(Window):
    """A window of a track's audio.

    num_new_samples: those that none of the track's windows before it had. duration_s, cleaning,
    channel and digest: of the whole track, and known to its last window alone.
    """

    track: Track
    num_new_samples: int
    duration_s: float = math.nan
    cleaning: Mapping[str, Any] = field(default_factory=dict)
    channel: int | None = None
    digest: str = ""


def encode_tracks(
    codec: WavTokenizer,
    tracks: Sequence[Track],
    windowing: Windowing,
    batch_size: int,
    on_audio: Callable[[float], None] = lambda seconds: None,
    cleaning: Cleaning | None = None,
    num_threads: int | None = None,
    preparation: Preparation = PREPARATION,
) -> Iterator[Encoded | Failure]:
    """Encode tracks, each yielded once, in the order in which they are done.

    codec: in eval mode; its device is used. batch_size: windows of equal length that go through it
    at once. on_audio: told the seconds of audio after each batch, overlaps once. preparation,
    cleaning: what is done to the audio before. num_threads: of a CPU, each with a batch of its own,
    see `map_in_threads`. Memory holds a few batches of windows, however long tracks are.
    """
    hop, sample_rate = codec.config.hop_length, codec.config.sample_rate
    failures: list[Failure] = []

    def read(track: Track) -> Iterator[_TrackWindow | Failure]:
        return _read_track(track, windowing, sample_rate, hop, preparation, cleaning)

    def windows(read_ahead: Iterable[_TrackWindow | Failure]) -> Iterator[_TrackWindow]:
        for found in read_ahead:
            if isinstance(found, Failure):
                failures.append(found)
            else:
                yield found

    def encode(audio_BxT: np.ndarray, starts_B: np.ndarray) -> np.ndarray:
        del starts_B  # codes do not depend on where a window is
        return encode_batch(codec, audio_BxT).astype(np.uint16)

    map_batches: Callable[[Callable, Iterable], Iterable] = map
    if next(codec.parameters()).device.type == "cpu":
        map_batches = functools.partial(map_in_threads, num_threads=num_threads)
    with (
        one_core_an_operation(),
        Prefetcher(tracks, read, _NUM_READERS, capacity=2 * batch_size) as read_ahead,
    ):
        for batch in in_batches(windows(read_ahead), encode, batch_size, map_batches):
            on_audio(sum(window.num_new_samples for window in batch) / sample_rate)
            for last in (window for window in batch if window.is_last):
                codes_L = join_codes(last.results, windowing.overlap)
                yield Encoded(
                    last.track,
                    codes_L,
                    last.duration_s,
                    last.digest,
                    last.cleaning,
                    last.channel,
                )
            yield from failures
            failures.clear()
        yield from failures


def encode_batch(codec: WavTokenizer, audio_BxT: np.ndarray) -> np.ndarray:
    """Codes (B, L) int64 of float32 audio (B, T), each row on its own."""
    device = next(codec.parameters()).device
    with torch.inference_mode():
        return codec.encode(torch.from_numpy(audio_BxT).to(device)).cpu().numpy()


def encode_windowed(codec: WavTokenizer, audio_T: np.ndarray, windowing: Windowing) -> np.ndarray:
    """Codes (L,) of one piece of audio (T,), cut into windows and joined."""
    pieces = [
        (start, encode_batch(codec, window_T[None])[0])
        for start, window_T, _ in cut_audio([audio_T], windowing, codec.config.hop_length)
    ]
    return join_codes(pieces, windowing.overlap)


def window_agreement(codec: WavTokenizer, audio_T: np.ndarray, windowing: Windowing) -> float:
    """The share of codes that windows leave equal to those of encoding (T,) audio in one piece."""
    whole_L = encode_batch(codec, audio_T[None])[0]
    return float(np.mean(encode_windowed(codec, audio_T, windowing) == whole_L))


def _read_track(
    track: Track,
    windowing: Windowing,
    sample_rate: int,
    hop: int,
    preparation: Preparation,
    cleaning: Cleaning | None,
) -> Iterator[_TrackWindow | Failure]:
    """A track's windows; or, at any point before its last window and instead of it, a Failure."""
    try:
        with at_hand(track) as path:
            file = PreparedFile(path, sample_rate, preparation)
            if track.sha256 is not None:
                require_sha256(path, track.sha256)
            try:
                yield from _windows(track, file, windowing, sample_rate, hop, cleaning)
            except ChannelsCancelError:
                yield from _windows(track, file, windowing, sample_rate, hop, cleaning)
    except AudioError as error:
        yield Failure(track.id, track.place, str(error))


def _windows(
    track: Track,
    file: PreparedFile,
    windowing: Windowing,
    sample_rate: int,
    hop: int,
    cleaning: Cleaning | None,
) -> Iterator[_TrackWindow]:
    """A track's windows. Those before an error have no last one, and so come to nothing."""
    num_samples = covered = 0  # samples that were read, and those that windows have had
    results: list[tuple[int, np.ndarray]] = []
    figures: Mapping[str, Any] = {}
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def counted(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal num_samples
        for block in blocks:
            num_samples += len(block)
            digest.update(np.ascontiguousarray(block))
            yield block

    if cleaning is None:
        blocks = file.blocks()
    else:
        # Here, because importing SciPy takes a second that others need not spend.
        from tokenizer_bridge.cleaning.track import CleanTrack

        clean = CleanTrack(file.blocks, sample_rate, cleaning)
        blocks, figures = clean.blocks(), clean.figures
    for start, audio_T, is_last in cut_audio(counted(blocks), windowing, hop):
        end = start * hop + len(audio_T)
        of_whole = {
            "duration_s": num_samples / sample_rate,
            "cleaning": figures,
            "channel": file.channel,
            "digest": digest.hexdigest(),
        }
        yield _TrackWindow(
            start=start,
            content=audio_T,
            results=results,
            is_last=is_last,
            track=track,
            num_new_samples=end - covered,
            **(of_whole if is_last else {}),
        )
        covered = end
