"""Resampling, of a whole signal or of one that arrives in blocks. T samples; float32."""

import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
import torchaudio

# What `resample` does, as reports state it: torchaudio's defaults.
RESAMPLER = "torchaudio windowed sinc (Hann, width 6, rolloff 0.99)"

_MAX_DENOMINATOR = 1000  # of a resampling ratio; a kernel has numerator · denominator values
_RESAMPLE_STRIDE = 128  # input samples between two columns of the convolution, at least half


def resample(audio_T: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """(T,) float32 to (ceil(T·to/from),), by torchaudio's windowed sinc interpolation."""
    resampler = StreamResampler(from_rate, to_rate)
    return np.concatenate([resampler.push(audio_T), resampler.finish()])


class StreamResampler:
    """`torchaudio.functional.resample` for a signal that arrives in blocks, with the same result.

    Odd rates (44,101 Hz to 24,000 Hz would take a kernel of 4 GB) are replaced by the nearest ratio
    with a denominator up to _MAX_DENOMINATOR: less than 0.05 %, or one cent, off.
    """

    def __init__(self, from_rate: int, to_rate: int):
        ratio = Fraction(from_rate, to_rate).limit_denominator(_MAX_DENOMINATOR)
        self._from, self._to = ratio.numerator, ratio.denominator
        self._num_in = self._num_out = 0
        if self._from == self._to:
            return
        transform = torchaudio.transforms.Resample(self._from, self._to)
        kernel = transform.kernel  # (to, 1, taps): the outputs of one period
        # Several periods at once make one wide convolution, four times as fast for 48 to 24 kHz.
        repeats = max(1, _RESAMPLE_STRIDE // self._from)
        self._stride = repeats * self._from
        self._span = kernel.shape[2] + self._stride - self._from
        self._kernel = torch.zeros(repeats * self._to, 1, self._span)
        for i in range(repeats):
            rows = slice(i * self._to, (i + 1) * self._to)
            self._kernel[rows, :, i * self._from :][..., : kernel.shape[2]] = kernel
        self._pending = np.zeros(transform.width, np.float32)  # silence before the first sample

    def push(self, block_T: np.ndarray) -> np.ndarray:
        """The output that a further (T,) block of input settles."""
        self._num_in += len(block_T)
        return self._advance(block_T.astype(np.float32, copy=False))

    def finish(self) -> np.ndarray:
        """The rest of the output, after the last block."""
        if self._from == self._to:
            return np.zeros(0, np.float32)
        wanted = math.ceil(self._num_in * self._to / self._from) - self._num_out
        return self._advance(np.zeros(self._span + self._stride, np.float32))[:wanted]

    def _advance(self, block_T: np.ndarray) -> np.ndarray:
        if self._from == self._to:
            return block_T
        self._pending = np.concatenate([self._pending, block_T])
        steps = (len(self._pending) - self._span) // self._stride + 1
        if steps <= 0:
            return np.zeros(0, np.float32)
        used = torch.from_numpy(self._pending[: (steps - 1) * self._stride + self._span])
        with torch.inference_mode():
            out = F.conv1d(used[None], self._kernel, stride=self._stride)  # (repeats·to, steps)
        self._pending = self._pending[steps * self._stride :]
        out_T = out.T.reshape(-1).numpy()
        self._num_out += len(out_T)
        return out_T
