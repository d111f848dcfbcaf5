"""Files that ffmpeg reads: M4A, WMA, video and all that libsndfile does not know or trust.

The first stream of sound is decoded at its own rate and channels, by a process of its own, through
a pipe. T samples, C channels.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tokenizer_bridge.audio.errors import AudioError
from tokenizer_bridge.audio.sound_file import BLOCK_FRAMES, cut_short, mp3_tolerance

_AU_HEADER = 24  # bytes: magic, offset of the data, their number, encoding, rate, channels


def find_ffmpeg() -> str | None:
    """The path of the ffmpeg that is on the PATH."""
    return shutil.which("ffmpeg")


class FfmpegFile:
    """A file that ffmpeg decodes, from its start at each call. Raises AudioError if it cannot."""

    def __init__(self, path: Path):
        self._path = path
        self._frames: int | None = None
        self._started: _Decoding | None = _Decoding(path)  # for the first call
        self.samplerate = self._started.sample_rate

    @property
    def frames(self) -> int:
        """The length that there is: all of it is decoded for that."""
        if self._frames is None:
            self._frames = sum(len(block_TxC) for block_TxC in self.blocks())
        return self._frames

    def blocks(self) -> Iterator[np.ndarray]:
        frames = 0
        with self._decoding() as decoding:
            while len(block_TxC := decoding.read(BLOCK_FRAMES)):
                frames += len(block_TxC)
                yield block_TxC
            decoding.check_end(frames)

    def excerpt(self, start: int, count: int) -> np.ndarray:
        with self._decoding() as decoding:
            while start and (skipped := len(decoding.read(min(start, BLOCK_FRAMES)))):
                start -= skipped
            return decoding.read(count)

    def close(self) -> None:
        if self._started is not None:
            self._started.close()

    def _decoding(self) -> "_Decoding":
        started, self._started = self._started, None
        return started or _Decoding(self._path)


class _Decoding:
    """A running ffmpeg, which ends with the `with` block."""

    def __init__(self, path: Path):
        self._name = os.fsencode(path).decode(errors="replace")  # as it stands in what is said
        command = [find_ffmpeg(), "-hide_banner", "-nostdin", "-nostats", "-v", "level+info"]
        command += ["-protocol_whitelist", "file", "-threads", "1", "-i", f"file:{path}"]
        command += ["-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "pipe:1"]
        self._said = tempfile.TemporaryFile()  # no pipe: nobody empties it while samples are read
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._said)
        header = self._process.stdout.read(_AU_HEADER)
        if len(header) < _AU_HEADER:
            self._process.wait()
            said = self._errors()
            self.close()
            raise AudioError(said[-1] if said else "ffmpeg gives no audio")
        offset, _, _, self.sample_rate, self._channels = np.frombuffer(header[4:], ">u4").tolist()
        self._process.stdout.read(offset - _AU_HEADER)

    def __enter__(self) -> "_Decoding":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.stdout.close()
        self._process.wait()
        self._said.close()

    def read(self, count: int) -> np.ndarray:
        """The next `count` frames, (T, C); fewer at the end."""
        data = self._process.stdout.read(4 * self._channels * count)
        whole = len(data) // (4 * self._channels) * (4 * self._channels)
        samples = np.frombuffer(data[:whole], ">f4").astype(np.float32)
        return samples.reshape(-1, self._channels)

    def check_end(self, frames: int) -> None:
        """Raise AudioError unless all that the file announces has come, or nothing went wrong."""
        code = self._process.wait()
        announced_s = self._announced_s()
        if announced_s is not None:
            announced = round(announced_s * self.sample_rate)
            if announced - frames > mp3_tolerance(announced, self.sample_rate):
                raise AudioError(cut_short(announced, frames, self.sample_rate))
        if errors := self._errors():
            if code or announced_s is None:
                raise AudioError(f"damaged: {errors[0]}")

    def _announced_s(self) -> float | None:
        """The length that the file's header gives; None where ffmpeg guesses, and of video.

        A video's sound may end before its picture.
        """
        text = self._text()
        match = re.search(r"Duration: (\d+):(\d\d):(\d\d\.\d+)", text)
        if match is None or "Estimating duration" in text or re.search(r"Stream #.*Video:", text):
            return None
        hours, minutes, seconds = match.groups()
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)

    def _errors(self) -> list[str]:
        """The lines that ffmpeg calls errors, without the names of its parts and of the file."""
        found = []
        for line in self._text().splitlines():
            if match := re.match(r"(?:\[.* @ 0x[0-9a-f]+\] )?\[(?:error|fatal)\] (.*)", line):
                text = match[1].replace(f"file:{self._name}: ", "").strip()
                if "matches no streams" in text:
                    return ["it has no sound"]
                found.append(text)
        return found

    def _text(self) -> str:
        self._said.seek(0)
        return self._said.read().decode(errors="replace")
