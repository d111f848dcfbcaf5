"""Audio files read and mixed down. T samples, C channels; float32 in [−1, 1].

A file is read in blocks, so that an hour-long one needs no more memory than a short one. Levels are
left as they are: quiet music stays quiet, and floating-point files may peak above 1.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from tokenizer_bridge.audio import mp3
from tokenizer_bridge.audio.resample import StreamResampler
from tokenizer_bridge.token_dataset.files import file_sha256

# What soundfile reads, and what people take for music: the latter fail with a reason instead of
# being passed over in silence.
READABLE = frozenset(
    "aif aifc aiff au caf flac mp1 mp2 mp3 oga ogg opus rf64 snd voc w64 wav wave".split()
)
UNREADABLE = frozenset("aac ac3 alac ape dsf m4a mka mp4 mpc wma wv".split())

MIN_DURATION_S = 0.1
LENGTH_TOLERANCE_S = 1e-3  # what cutting and resampling elsewhere may take off a file
SILENCE_PEAK = 1e-4  # −80 dB: below it there is nothing but the dither of a 16-bit file
OVERLOAD_PEAK = 100.0  # +40 dB: beyond it samples were never scaled to ±1
SAMPLE_RATES = (1_000, 1_000_000)  # Hz; of anything else the header must be wrong

_UNKNOWN_FRAMES = 2**62  # what libsndfile gives of FLAC that was written to a pipe
_BLOCK_FRAMES = 2**18  # read at a time: 6 s at 44.1 kHz
# What an MP3's frame may need before it: 255 bytes, where 576 samples can have as few as 3 of them.
_MP3_LEAD = 2**16


class _SoundFile(soundfile.SoundFile):
    """A file of which consecutive reads are consecutive decoding.

    soundfile seeks after each read of a seekable file, to where it already is; in an MP3 of low bit
    rate that loses the next 0.1 s, for lack of what the frames before have left over for it.
    """

    def seekable(self) -> bool:
        return False


class AudioError(ValueError):
    """A file without usable audio; the text is the reason, without the file's name."""


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """All of a file: (C, T) float32 and its sample rate in Hz. Raises AudioError."""
    with _open(path) as file:
        samples_TxC = _checked(file.read(file.frames, dtype="float32", always_2d=True))
        _check_length(file, len(samples_TxC))
        return np.ascontiguousarray(samples_TxC.T), file.samplerate


def stream_mono(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """A file's channel mean at `sample_rate`, as consecutive (T,) float32 blocks.

    Joined, the blocks are the whole file's `resample(mix_down(…), …)`. Raises AudioError, at the
    latest after the last block, for a file that is missing, no audio, empty, cut short, shorter
    than MIN_DURATION_S, silent (no sample above SILENCE_PEAK), not finite, or at a level or rate
    that no music has.
    """
    with _open(path) as file:
        resampler = StreamResampler(file.samplerate, sample_rate)
        frames, peak = 0, 0.0
        while len(block_TxC := _read_block(file)):
            wanted = min(_BLOCK_FRAMES, file.frames - frames)
            frames += len(block_TxC)
            if len(block_TxC) < wanted and file.format != "MP3":
                # What comes next would be out of place: libsndfile goes on as if nothing was lost.
                place_s = frames / file.samplerate
                raise AudioError(f"damaged: a part is missing near {place_s:.1f} s")
            peak = max(peak, float(np.abs(block_TxC).max()))
            if peak > OVERLOAD_PEAK:
                raise AudioError(f"samples are not scaled to ±1 (peak {peak:.3g})")
            yield resampler.push(mix_down(block_TxC))
        _check_length(file, frames)
        if peak <= SILENCE_PEAK:
            raise AudioError(f"silent (peak {peak:.1g})")
        yield resampler.finish()


def length_s(path: Path) -> float:
    """Seconds of audio in a file; nothing is decoded. Raises AudioError."""
    with _open(path) as file:
        return file.frames / file.samplerate


def read_excerpt(
    path: Path, start_s: float, length_s: float, *, silent_ok: bool = False
) -> tuple[np.ndarray, int]:
    """The channel mean of a part of a file, (round(length_s · rate),), and the file's rate in Hz.

    A file that ends up to LENGTH_TOLERANCE_S too early gives so much less. The part is sought, not
    read up to: what lies before and after need not be undamaged. (libsndfile seeks to the sample in
    every format; an MP3's samples then differ by rounding from those of decoding all of it, as
    decoding begins _MP3_LEAD samples earlier.)
    Raises AudioError for a file that cannot be read or ends earlier, and for an excerpt that is
    not finite, at a level that no music has or, unless `silent_ok`, silent (no sample above
    SILENCE_PEAK).
    """
    with _open(path) as file:
        start, wanted = round(start_s * file.samplerate), round(length_s * file.samplerate)
        try:
            lead = min(start, _MP3_LEAD) if file.format == "MP3" else 0
            file.seek(min(start, file.frames) - lead)
            file.read(lead)
            audio_T = mix_down(_checked(file.read(wanted, dtype="float32", always_2d=True)))
        except soundfile.SoundFileError as error:
            raise AudioError(f"damaged near {start_s:.1f} s: {error}") from error
        if len(audio_T) < wanted - LENGTH_TOLERANCE_S * file.samplerate:
            found_s = (start + len(audio_T)) / file.samplerate
            raise AudioError(f"cut short: ends at {found_s:.2f} s")
        peak = float(np.abs(audio_T).max(initial=0))
        if peak > OVERLOAD_PEAK:
            raise AudioError(f"samples are not scaled to ±1 (peak {peak:.3g})")
        if peak <= SILENCE_PEAK and not silent_ok:
            raise AudioError(f"silent from {start_s:.1f} to {start_s + length_s:.1f} s")
        return audio_T, file.samplerate


def require_sha256(path: Path, sha256: str) -> None:
    """Raise AudioError unless a file has this SHA-256, in hexadecimal."""
    _require_file(path)
    if file_sha256(path) != sha256:
        raise AudioError("its SHA-256 is not the published one: damaged, or another version")


def mix_down(samples_TxC: np.ndarray) -> np.ndarray:
    """The mean of the channels, (T,)."""
    channels = samples_TxC.shape[1]
    return samples_TxC @ np.full(channels, 1 / channels, np.float32)  # 3× as fast as .mean(axis=1)


def _require_file(path: Path) -> None:
    if not path.exists():
        raise AudioError("missing, or a link that leads nowhere")
    if not path.is_file():
        raise AudioError("not a regular file")


def _open(path: Path) -> soundfile.SoundFile:
    """Open a file that promises to be whole. Raises AudioError."""
    _require_file(path)
    if path.stat().st_size == 0:
        raise AudioError("empty: 0 bytes")
    try:
        file = _SoundFile(os.fsencode(path))  # names are bytes, and need not be text
    except (soundfile.SoundFileError, OSError) as error:
        detail = getattr(error, "error_string", None) or str(error)
        # libsndfile says so of every stranger named .mp3.
        detail = "" if "does not exist" in detail else f" ({detail.rstrip('.')})"
        raise AudioError(f"not audio that soundfile can read, or damaged{detail}") from error
    lowest, highest = SAMPLE_RATES
    if not lowest <= file.samplerate <= highest:
        file.close()
        raise AudioError(f"a sample rate of {file.samplerate} Hz: the header is damaged")
    if file.frames >= _UNKNOWN_FRAMES:
        file.close()
        raise AudioError("its header does not say how long it is: convert it, to FLAC again")
    if _header_promises_more(file.extra_info):
        file.close()
        raise AudioError("cut short: the file ends before the end that it announces")
    return _trusted_mp3(path, file) if file.format == "MP3" else file


def _header_promises_more(log: str) -> bool:
    """True if libsndfile's log of opening a file tells that the file is cut short.

    libsndfile itself reads what there is. Programs that write to a pipe leave a length that no file
    has (2³¹ and above): that is no sign of damage.
    """
    if "lacks an end-of-stream bit" in log or "without an End-Of-Stream flag" in log:
        return True  # Ogg
    sizes = re.findall(r"(\d+) \(should be (\d+)\)", log)  # WAV, AIFF, AU, W64, RF64
    return any(int(found) < int(promised) < 2**31 - 2**16 for promised, found in sizes)


def _trusted_mp3(path: Path, file: soundfile.SoundFile) -> soundfile.SoundFile:
    """An open MP3, or the same one opened so that all of it can be read. Raises AudioError.

    What libsndfile announces of an MP3 without an index is a guess, and it reads no further.
    """
    try:
        survey = mp3.survey(path)
    except OSError as error:
        file.close()
        raise AudioError(f"cannot be read: {error.strerror}") from error
    if survey is None:
        file.close()
        raise AudioError("its MP3 frames do not tell their size: convert it, to FLAC for instance")
    if survey.found is None:
        return file
    found, announced = survey.found, survey.indexed
    if survey.layer != 3:  # they have no index, and as a rule one bit rate
        announced = file.frames
    tolerance = _mp3_tolerance(found, file.samplerate)
    if announced is not None and abs(found - announced) <= tolerance:
        return file
    file.close()
    if announced is not None and found < announced:
        raise AudioError(_cut_short(announced, found, file.samplerate))
    if found == 0:
        raise AudioError("holds no samples")
    if survey.layer != 3:
        raise AudioError(
            f"its {found / file.samplerate:.1f} s would be read as "
            f"{announced / file.samplerate:.1f} s: convert it, to FLAC for instance"
        )
    return _SoundFile(mp3.with_index(path, survey))


def _mp3_tolerance(frames: int, sample_rate: int) -> float:
    """The frames by which an MP3 may miss its announced length: encoders count in several ways."""
    return max(0.01 * frames, sample_rate)


def _cut_short(announced: int, found: int, sample_rate: int) -> str:
    return (
        f"cut short: {announced / sample_rate:.1f} s announced, {found / sample_rate:.1f} s found"
    )


def _read_block(file: soundfile.SoundFile) -> np.ndarray:
    try:
        return _checked(file.read(_BLOCK_FRAMES, dtype="float32", always_2d=True))
    except soundfile.SoundFileError as error:
        raise AudioError(f"damaged: {error}") from error


def _checked(block_TxC: np.ndarray) -> np.ndarray:
    if not np.isfinite(block_TxC).all():
        raise AudioError("holds samples that are not finite (NaN or infinity)")
    return block_TxC


def _check_length(file: soundfile.SoundFile, frames: int) -> None:
    """Refuse a file too short to be music, or shorter than it announces.

    MP3s may be so by 1 % or 1 s: a damaged frame is passed over, as players do.
    """
    if frames == 0:
        raise AudioError("holds no samples")
    tolerance = _mp3_tolerance(file.frames, file.samplerate) if file.format == "MP3" else 0
    if file.frames - frames > tolerance:
        raise AudioError(_cut_short(file.frames, frames, file.samplerate))
    if frames < MIN_DURATION_S * file.samplerate:
        raise AudioError(f"too short: {frames / file.samplerate:.3g} s, {MIN_DURATION_S} s needed")
