"""Files that libsndfile reads, and how far its word is trusted. T samples, C channels."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile

from tokenizer_bridge.audio import mp3, ogg, riff
from tokenizer_bridge.audio.errors import AudioError, UnknownError, UnsuitedError

SAMPLE_RATES = (1_000, 1_000_000)  # Hz; of anything else the header must be wrong
BLOCK_FRAMES = 2**18  # read at a time: 6 s at 44.1 kHz

_UNKNOWN_FRAMES = 2**62  # what libsndfile gives of FLAC that was written to a pipe
# What an MP3's frame may need before it: 255 bytes, where 576 samples can have as few as 3 of them.
_MP3_LEAD = 2**16


class AudioFile(Protocol):
    """An open file. frames: that it holds, as far as can be told without decoding it all."""

    samplerate: int  # Hz

    @property
    def frames(self) -> int: ...

    def blocks(self) -> Iterator[np.ndarray]:
        """All of it, (T, C) float32 each. Raises AudioError, at the latest after the last block,
        unless all that the file announces is there."""

    def excerpt(self, start: int, count: int) -> np.ndarray:
        """(T, C) float32 from a frame on, T below `count` where the file ends. Raises AudioError;
        what lies before and after need not be undamaged."""

    def close(self) -> None: ...


class SoundFile:
    """A file that libsndfile reads, whole, or one in memory."""

    def __init__(self, source: Path | io.BytesIO):
        try:
            # Names are bytes, and need not be text.
            self._file = _Consecutive(os.fsencode(source) if isinstance(source, Path) else source)
        except (soundfile.SoundFileError, OSError, ValueError) as error:
            detail = getattr(error, "error_string", None) or str(error)
            # libsndfile says so of every stranger named .mp3.
            detail = "" if "does not exist" in detail else detail.removeprefix("Error : ")
            raise UnknownError(detail.rstrip(".\n")) from error
        self.samplerate, self.format = self._file.samplerate, self._file.format
        self.channels, self.log = self._file.channels, self._file.extra_info
        lowest, highest = SAMPLE_RATES
        if not lowest <= self.samplerate <= highest:
            self.close()
            raise AudioError(f"a sample rate of {self.samplerate} Hz: the header is damaged")

    @property
    def frames(self) -> int:
        return self._file.frames

    def blocks(self) -> Iterator[np.ndarray]:
        frames = 0
        while len(block_TxC := self._read(BLOCK_FRAMES, frames)):
            wanted = min(BLOCK_FRAMES, self.frames - frames)
            frames += len(block_TxC)
            if len(block_TxC) < wanted and self.format != "MP3":
                # What comes next would be out of place: libsndfile goes on as if nothing was lost.
                place_s, announced_s = frames / self.samplerate, self.frames / self.samplerate
                raise AudioError(
                    f"damaged: a part is missing near {place_s:.1f} s of {announced_s:.1f} s"
                )
            yield block_TxC
        # A damaged frame of an MP3 is passed over, as players do.
        tolerance = mp3_tolerance(self.frames, self.samplerate) if self.format == "MP3" else 0
        if self.frames - frames > tolerance:
            raise AudioError(cut_short(self.frames, frames, self.samplerate))

    def excerpt(self, start: int, count: int) -> np.ndarray:
        try:
            lead = min(start, _MP3_LEAD) if self.format == "MP3" else 0
            self._file.seek(min(start, self.frames) - lead)
            self._file.read(lead)
        except soundfile.SoundFileError as error:
            raise AudioError(self._damaged(start, error)) from error
        return self._read(count, start)

    def close(self) -> None:
        self._file.close()

    def _read(self, count: int, at: int) -> np.ndarray:
        try:
            return self._file.read(count, dtype="float32", always_2d=True)
        except soundfile.SoundFileError as error:
            raise AudioError(self._damaged(at, error)) from error

    def _damaged(self, at: int, error: Exception) -> str:
        reason = getattr(error, "error_string", None) or str(error)
        detail = "" if "Unspecified" in reason else f": {reason.rstrip('.')}"
        return f"damaged {self.format}, behind {at / self.samplerate:.1f} s{detail}"


class Chain:
    """Files in memory, one after another, of one sample rate and number of channels."""

    def __init__(self, parts: Sequence[SoundFile]):
        self._parts, self.samplerate = parts, parts[0].samplerate

    @property
    def frames(self) -> int:
        return sum(part.frames for part in self._parts)

    def blocks(self) -> Iterator[np.ndarray]:
        for part in self._parts:
            yield from part.blocks()

    def excerpt(self, start: int, count: int) -> np.ndarray:
        pieces = []
        for part in self._parts:
            if start < part.frames and count:
                pieces.append(part.excerpt(start, min(count, part.frames - start)))
                count -= len(pieces[-1])
            start = max(0, start - part.frames)
        return np.concatenate(pieces) if pieces else self._parts[0].excerpt(0, 0)

    def close(self) -> None:
        for part in self._parts:
            part.close()


class _Consecutive(soundfile.SoundFile):
    """A file of which consecutive reads are consecutive decoding.

    soundfile seeks after each read of a seekable file, to where it already is; in an MP3 of low bit
    rate that loses the next 0.1 s, for lack of what the frames before have left over for it.
    """

    def seekable(self) -> bool:
        return False


def open_sound_file(path: Path) -> AudioFile:
    """A file that promises to be whole.

    Raises UnsuitedError where another decoder may do better, AudioError, OSError.
    """
    header, links = riff.read_header(path), ogg.find_links(path)
    if (links and not links.is_whole) or (header and header.is_cut_short):
        raise AudioError("cut short: the file ends before the end that it announces")
    if header and header.holds_mpeg:
        return _trusted_mp3(riff.read_data(path, header))
    if links and len(links.places) > 1:
        return _chain(path, links)
    file = SoundFile(path)
    try:
        if header and (wrong := header.contradiction()):
            raise AudioError(f"a header that contradicts itself: {wrong}")
        if file.frames >= _UNKNOWN_FRAMES or (header and header.announces_nothing):
            raise UnsuitedError("its header does not say how long it is")
        if _header_promises_more(file.log):
            raise AudioError("cut short: the file ends before the end that it announces")
    except AudioError:
        file.close()
        raise
    if file.format == "MP3":
        file.close()
        return _trusted_mp3(path)
    return file


def cut_short(announced: int, found: int, sample_rate: int) -> str:
    """The words for a file that ends too early; lengths in frames."""
    return (
        f"cut short: {announced / sample_rate:.1f} s announced, {found / sample_rate:.1f} s found"
    )


def mp3_tolerance(frames: int, sample_rate: int) -> float:
    """The frames by which an MP3 may miss its announced length: encoders count in several ways."""
    return max(0.01 * frames, sample_rate)


def _chain(path: Path, links: ogg.Links) -> AudioFile:
    """An Ogg file of several streams."""
    data = path.read_bytes()
    parts: list[SoundFile] = []
    for start, stop in links.places:
        parts.append(SoundFile(io.BytesIO(data[start:stop])))
    kinds = {(part.samplerate, part.channels) for part in parts}
    if len(kinds) > 1:
        for part in parts:
            part.close()
        raise UnsuitedError(
            f"its {len(parts)} streams, one after another, differ in sample rate or channels"
        )
    return Chain(parts)


def _header_promises_more(log: str) -> bool:
    """True if libsndfile's log of opening a file tells that the file is cut short.

    libsndfile itself reads what there is. Programs that write to a pipe leave a length that no file
    has (2³¹ and above): that is no sign of damage.
    """
    if "lacks an end-of-stream bit" in log or "without an End-Of-Stream flag" in log:
        return True  # Ogg
    sizes = re.findall(r"(\d+) \(should be (\d+)\)", log)  # WAV, AIFF, AU, W64, RF64
    return any(int(found) < int(promised) < 2**31 - 2**16 for promised, found in sizes)


def _trusted_mp3(source: Path | bytes) -> SoundFile:
    """An MP3, or the MP3 in another file, opened so that all of it can be read.

    What libsndfile announces of an MP3 without an index is a guess, and it reads no further.
    """
    survey = mp3.survey(source)
    if survey is None:
        raise UnsuitedError("its MP3 frames do not tell their size")
    file = SoundFile(source if isinstance(source, Path) else io.BytesIO(source))
    if survey.found is None:
        return file
    found, announced = survey.found, survey.indexed
    if survey.layer != 3:  # they have no index, and as a rule one bit rate
        announced = file.frames
    tolerance = mp3_tolerance(found, file.samplerate)
    if announced is not None and abs(found - announced) <= tolerance:
        return file
    file.close()
    if announced is not None and found < announced:
        raise AudioError(cut_short(announced, found, file.samplerate))
    if found == 0:
        raise AudioError("holds no samples")
    if survey.layer != 3:
        raise UnsuitedError(
            f"its {found / file.samplerate:.1f} s would be read as "
            f"{announced / file.samplerate:.1f} s"
        )
    return SoundFile(mp3.with_index(source, survey))
