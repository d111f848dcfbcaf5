"""The level of a track from moment to moment: the RMS of frames of 20 ms, in dB of full scale."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from tokenizer_bridge.audio.read import SILENCE_PEAK

FRAME_S = 0.02
FLOOR_DB = float(20 * np.log10(SILENCE_PEAK))  # −80: what is below is nothing but dither


@dataclass(frozen=True)
class Levels:
    """frames_F: dB of full scale; F = ceil(num_samples / frame), the last one may be shorter."""

    frames_F: np.ndarray
    frame: int  # samples
    num_samples: int

    @property
    def track_db(self) -> float:
        """The track's level: what its loudest 5 % of frames exceed, silent ones not counted.

        A percentile, so that one crash of a cymbal does not make the rest of the music quiet.
        """
        audible = self.frames_F[self.frames_F > FLOOR_DB]
        return float(np.percentile(audible, 95)) if len(audible) else FLOOR_DB


def measure_levels(blocks: Iterable[np.ndarray], sample_rate: int) -> Levels:
    """The levels of a track that arrives in (T,) blocks; holds 4 bytes a frame (0.7 MB an hour)."""
    frame = max(1, round(FRAME_S * sample_rate))
    powers, pending, num_samples = [], np.zeros(0, np.float32), 0
    for block in blocks:
        num_samples += len(block)
        pending = np.concatenate([pending, block])
        whole = len(pending) // frame * frame
        powers.append(np.mean(np.square(pending[:whole].reshape(-1, frame)), axis=1))
        pending = pending[whole:]
    if len(pending):
        powers.append(np.mean(np.square(pending), keepdims=True))
    power_F = np.concatenate(powers) if powers else np.zeros(0, np.float32)
    return Levels(10 * np.log10(np.maximum(power_F, 1e-12)), frame, num_samples)
