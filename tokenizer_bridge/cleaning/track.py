"""A track as it comes out of cleaning, however long, in blocks.

It is read once more for every step that must know all of it before the first sample can leave
(levels; the half second of noise; loudness), instead of being held.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tokenizer_bridge.audio.read import MIN_DURATION_S, AudioError
from tokenizer_bridge.cleaning import Cleaning, noise
from tokenizer_bridge.cleaning.activity import active_stretches, keep, kept_samples
from tokenizer_bridge.cleaning.bounds import Activity
from tokenizer_bridge.cleaning.levels import measure_levels
from tokenizer_bridge.cleaning.loudness import LoudnessMeter, loudness_gain


class CleanTrack:
    """A track as `cleaning` leaves it.

    read: gives the track's (T,) blocks from the start, anew at each call. figures: what has been
    done, for the track's record: seconds of silence that were dropped; the noise's level, in dB of
    full scale, or None if it was not reduced; loudness in LUFS before the last step and the gain in
    dB. Memory is bounded by a few blocks, but for one number for every 20 ms. Raises AudioError if
    nothing is left, or nothing that has a loudness.
    """

    def __init__(
        self, read: Callable[[], Iterator[np.ndarray]], sample_rate: int, cleaning: Cleaning
    ):
        self._read, self._rate, self._cleaning = read, sample_rate, cleaning
        self._stretches: list[tuple[int, int]] | None = None
        self._profile: np.ndarray | None = None
        self._gain = 1.0
        self.figures: dict[str, Any] = {}
        if cleaning.activity or cleaning.noise_reduction:
            self._levels = measure_levels(read(), sample_rate)
        if cleaning.activity:
            self._find_activity(cleaning.activity)
        if cleaning.noise_reduction:
            self._find_noise()
        if cleaning.loudness_lufs is not None:
            self._find_gain(cleaning.loudness_lufs)

    def blocks(self) -> Iterator[np.ndarray]:
        """The clean track, (T,) float32 blocks."""
        for block in self._without_gain():
            yield block if self._gain == 1.0 else block * np.float32(self._gain)

    def _without_gain(self) -> Iterator[np.ndarray]:
        blocks = self._read()
        if self._stretches is not None:
            blocks = keep(blocks, self._stretches, self._levels.num_samples, self._rate)
        if self._profile is not None:
            blocks = noise.gate(blocks, self._profile, self._rate, self._cleaning.noise_reduction)
        return blocks

    def _find_activity(self, activity: Activity) -> None:
        self._stretches = active_stretches(self._levels, self._rate, activity)
        kept = kept_samples(self._stretches, self._rate)
        if kept < MIN_DURATION_S * self._rate:
            raise AudioError(
                f"no activity: nothing as long as {activity.min_active_s:g} s above "
                f"{self._levels.track_db + activity.on_db:.0f} dB of full scale"
            )
        self.figures["dropped_s"] = round((self._levels.num_samples - kept) / self._rate, 3)

    def _find_noise(self) -> None:
        found = noise.quietest_stretch(self._levels)
        self.figures["noise_db"] = None
        if found is not None:
            start, level_db = found
            self._profile = noise.read_profile(self._read(), start, self._rate)
            self.figures["noise_db"] = round(level_db, 1)

    def _find_gain(self, target_lufs: float) -> None:
        meter = LoudnessMeter(self._rate)
        for block in self._without_gain():
            meter.push(block)
        lufs = meter.lufs()
        self._gain = loudness_gain(lufs, meter.peak, target_lufs)
        self.figures["lufs"] = round(lufs, 2) if np.isfinite(lufs) else None
        self.figures["gain_db"] = round(20 * float(np.log10(self._gain)), 2)
