"""Audio files read and mixed down. T samples, C channels; float32 in [−1, 1].

A file is read in blocks, so that an hour-long one needs no more memory than a short one. Levels are
left as they are: quiet music stays quiet, and floating-point files may peak above 1.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenizer_bridge.audio.choices import CHANNELS, LOW_CUT_HZ
from tokenizer_bridge.audio.errors import AudioError, ChannelsCancelError
from tokenizer_bridge.audio.low_cut import low_cut
from tokenizer_bridge.audio.mixing import ChannelPowers, mean_of_channels, mix_down
from tokenizer_bridge.audio.opening import open_audio, require_file
from tokenizer_bridge.audio.resample import StreamResampler
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import file_sha256

MIN_DURATION_S = 0.1
LENGTH_TOLERANCE_S = 1e-3  # what cutting and resampling elsewhere may take off a file
SILENCE_PEAK = 1e-4  # −80 dB: below it there is nothing but the dither of a 16-bit file
OVERLOAD_PEAK = 100.0  # +40 dB: beyond it samples were never scaled to ±1


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """All of a file: (C, T) float32 and its sample rate in Hz. Raises AudioError."""
    with open_audio(path) as file:
        blocks = [_checked(block_TxC) for block_TxC in file.blocks()]
        _check_length(sum(map(len, blocks)), file.samplerate)
        return np.ascontiguousarray(np.concatenate(blocks).T), file.samplerate


def stream_mono(path: Path, sample_rate: int, channel: int | None = None) -> Iterator[np.ndarray]:
    """A file's channel mean, or one channel, at `sample_rate`, as consecutive (T,) float32 blocks.

    Joined, the blocks are the whole file's `resample(mean_of_channels(…), …)`. channel: from 0; the
    last one where there are not so many. Raises AudioError, at the latest after the last block, for
    a file that is missing, no audio, empty, cut short, shorter than MIN_DURATION_S, silent (no
    sample above SILENCE_PEAK), not finite, or at a level or rate that no music has; and
    ChannelsCancelError after the last block.
    """
    with open_audio(path) as file:
        resampler = StreamResampler(file.samplerate, sample_rate)
        powers: ChannelPowers | None = None
        frames, peak = 0, 0.0
        for block_TxC in file.blocks():
            frames += len(block_TxC)
            _check_peak(float(np.abs(_checked(block_TxC)).max()))
            if channel is None:
                powers = powers or ChannelPowers(block_TxC.shape[1])
                powers.push(block_TxC)
                mono_T = mean_of_channels(block_TxC)
            else:
                mono_T = block_TxC[:, min(channel, block_TxC.shape[1] - 1)]
            peak = max(peak, float(np.abs(mono_T).max()))
            yield resampler.push(mono_T)
        _check_length(frames, file.samplerate)
        if powers is not None and powers.cancel:
            raise ChannelsCancelError(powers.loudest)
        _check_sound(peak)
        yield resampler.finish()


@dataclass(frozen=True)
class Preparation:
    """The preparation that every file goes through before it is encoded.

    channels: one of CHANNELS. "mean" is the loudest channel alone where the channels cancel, see
    `mixing`; "left" and "right" are the first and the second, the only one of mono. low_cut_hz:
    what lies below is removed, see `low_cut`; 0 for nothing.
    """

    channels: str = "mean"
    low_cut_hz: float = LOW_CUT_HZ

    def __post_init__(self):
        if self.channels not in CHANNELS:
            raise UserError(f"channels {self.channels!r}: one of {', '.join(CHANNELS)}")
        if self.low_cut_hz and not 1 <= self.low_cut_hz <= 1000:
            raise UserError(f"a low cut at {self.low_cut_hz:g} Hz: 1 to 1,000, or 0 for none")

    def settings(self) -> dict[str, Any]:
        """The mapping that dataset.json keeps."""
        return asdict(self)


PREPARATION = Preparation()  # unless another is asked for


class PreparedFile:
    """A file as it is encoded: mono, at a sample rate, prepared; read as often as need be.

    channel: the one that is taken alone, from 0; None for the mean. It may only be known when all
    of the file has been read: `blocks` then raises ChannelsCancelError, once, and what it gave is
    void.
    """

    def __init__(self, path: Path, sample_rate: int, preparation: Preparation):
        self._path, self._rate, self._preparation = path, sample_rate, preparation
        self.channel = {"left": 0, "right": 1}.get(preparation.channels)

    def blocks(self) -> Iterator[np.ndarray]:
        """The file's (T,) float32 blocks, from the start. Raises AudioError as `stream_mono`."""
        if self.channel is None and self._preparation.channels == "loudest":
            self.channel = _loudest_channel(self._path)
        blocks = stream_mono(self._path, self._rate, self.channel)
        if self._preparation.low_cut_hz:
            blocks = low_cut(blocks, self._rate, self._preparation.low_cut_hz)
        peak = 0.0
        try:
            for block_T in blocks:
                peak = max(peak, float(np.abs(block_T).max(initial=0)))
                yield block_T
        except ChannelsCancelError as error:
            self.channel = error.loudest
            raise
        _check_sound(peak)

    def read(self) -> np.ndarray:
        """All of it, (T,) float32."""
        try:
            return np.concatenate(list(self.blocks()))
        except ChannelsCancelError:
            return np.concatenate(list(self.blocks()))


def read_mono(path: Path, sample_rate: int) -> np.ndarray:
    """A file's mean channel, (T,) float32, with all that it has below hearing."""
    return PreparedFile(path, sample_rate, Preparation(low_cut_hz=0)).read()


def length_s(path: Path) -> float:
    """Seconds of audio in a file; nothing is decoded where libsndfile reads it.

    Raises AudioError.
    """
    with open_audio(path) as file:
        return file.frames / file.samplerate


def read_excerpt(
    path: Path, start_s: float, length_s: float, *, silent_ok: bool = False
) -> tuple[np.ndarray, int]:
    """A part of a file, mixed down, (round(length_s · rate),), and the file's rate in Hz.

    A file that ends up to LENGTH_TOLERANCE_S too early gives so much less. The part is sought, not
    read up to (but for files that ffmpeg decodes): what lies before and after need not be
    undamaged. (libsndfile seeks to the sample in every format; an MP3's samples then differ by
    rounding from those of decoding all of it, as decoding begins a little earlier.)
    Raises AudioError for a file that cannot be read or ends earlier, and for an excerpt that is
    not finite, at a level that no music has or, unless `silent_ok`, silent (no sample above
    SILENCE_PEAK).
    """
    with open_audio(path) as file:
        start, wanted = round(start_s * file.samplerate), round(length_s * file.samplerate)
        audio_T = mix_down(_checked(file.excerpt(start, wanted)))
        if len(audio_T) < wanted - LENGTH_TOLERANCE_S * file.samplerate:
            found_s = (start + len(audio_T)) / file.samplerate
            raise AudioError(f"cut short: ends at {found_s:.2f} s")
        peak = float(np.abs(audio_T).max(initial=0))
        _check_peak(peak)
        if peak <= SILENCE_PEAK and not silent_ok:
            raise AudioError(f"silent from {start_s:.1f} to {start_s + length_s:.1f} s")
        return audio_T, file.samplerate


def require_sha256(path: Path, sha256: str) -> None:
    """Raise AudioError unless a file has this SHA-256, in hexadecimal."""
    require_file(path)
    if file_sha256(path) != sha256:
        raise AudioError("its SHA-256 is not the published one: damaged, or another version")


def _loudest_channel(path: Path) -> int:
    """The number of a file's channel of most power."""
    powers: ChannelPowers | None = None
    with open_audio(path) as file:
        for block_TxC in file.blocks():
            powers = powers or ChannelPowers(block_TxC.shape[1])
            powers.push(_checked(block_TxC))
    return 0 if powers is None else powers.loudest


def _checked(block_TxC: np.ndarray) -> np.ndarray:
    if not np.isfinite(block_TxC).all():
        raise AudioError("holds samples that are not finite (NaN or infinity)")
    return block_TxC


def _check_peak(peak: float) -> None:
    if peak > OVERLOAD_PEAK:
        raise AudioError(f"samples are not scaled to ±1 (peak {peak:.3g})")


def _check_sound(peak: float) -> None:
    if peak <= SILENCE_PEAK:
        raise AudioError(f"silent (peak {peak:.1g})")


def _check_length(frames: int, sample_rate: int) -> None:
    """Refuse a file too short to be music."""
    if frames == 0:
        raise AudioError("holds no samples")
    if frames < MIN_DURATION_S * sample_rate:
        raise AudioError(f"too short: {frames / sample_rate:.3g} s, {MIN_DURATION_S} s needed")
