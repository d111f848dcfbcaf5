"""Channels mixed down to one. T samples, C channels."""

import numpy as np

# The power of the channels' sum, by what independent channels would have: 2 for equal ones in
# stereo, 0 for opposite ones. Below this they cancel.
_CANCELLING = 0.5


class ChannelPowers:
    """The power of the channels of a signal that arrives in blocks, alone and together.

    Constant offsets do not count.
    """

    def __init__(self, num_channels: int):
        self._num_frames = 0
        self._sum_C = np.zeros(num_channels)
        self._products_CxC = np.zeros((num_channels, num_channels))

    def push(self, block_TxC: np.ndarray) -> None:
        """Take a further block."""
        self._num_frames += len(block_TxC)
        self._sum_C += block_TxC.sum(axis=0, dtype=np.float64)
        self._products_CxC += block_TxC.T @ block_TxC

    @property
    def loudest(self) -> int:
        """The channel of most power; the first of equals."""
        return int(np.argmax(np.diag(self._covariance())))

    @property
    def cancel(self) -> bool:
        """True if the channels' sum has less than half the power of independent channels'."""
        covariance_CxC = self._covariance()
        return bool(covariance_CxC.sum() < _CANCELLING * np.trace(covariance_CxC))

    def _covariance(self) -> np.ndarray:
        mean_C = self._sum_C / max(1, self._num_frames)
        return self._products_CxC / max(1, self._num_frames) - np.outer(mean_C, mean_C)


def mean_of_channels(samples_TxC: np.ndarray) -> np.ndarray:
    """The mean of the channels, (T,)."""
    channels = samples_TxC.shape[1]
    return samples_TxC @ np.full(channels, 1 / channels, np.float32)  # 3× as fast as .mean(axis=1)


def mix_down(samples_TxC: np.ndarray) -> np.ndarray:
    """The mean of a whole signal's channels, (T,); the loudest one alone where they cancel."""
    powers = ChannelPowers(samples_TxC.shape[1])
    powers.push(samples_TxC)
    if powers.cancel:
        return np.ascontiguousarray(samples_TxC[:, powers.loudest])
    return mean_of_channels(samples_TxC)
