"""Loudness by ITU-R BS.1770-4, of mono audio that may arrive in blocks, and its normalisation.

The frequency weighting is that of pyloudnorm's class "DeMan", whose filters at 48 kHz are the
standard's to all digits (tables 1 and 2). pyloudnorm's default class, "K-weighting", only comes
near them: it reads a tone of 997 Hz 0.08 LU lower at 24 kHz, and 0.04 to 0.05 at 44.1 and 48.

A meter of pyloudnorm needs a whole track in memory several times over; the one here takes it block
by block, with the same figures as `pyloudnorm.Meter(rate, filter_class="DeMan")`; only that a last
block which is not full never counts, as BS.1770 has it: pyloudnorm counts one that lacks less than
0.05 s.
"""

from dataclasses import dataclass

import numpy as np
import pyloudnorm
import scipy.signal

from tokenizer_bridge.audio.read import SILENCE_PEAK, AudioError

BLOCK_S = 0.4  # of the measurement; anything shorter has no loudness
PEAK_CEILING = 1.0  # full scale

# Gain in dB, Q, frequency in Hz and kind of the two filters: at 48 kHz they are BS.1770's to all
# digits, elsewhere the same analogue filters.
_WEIGHTING = (
    (3.99984385397, 0.7071752369554193, 1681.9744509555319, "high_shelf_DeMan"),
    (0.0, 0.5003270373253953, 38.13547087613982, "high_pass_DeMan"),
)
_LEAST_RATE = 2 * max(stage[2] for stage in _WEIGHTING)  # Hz; below it a filter has no frequency
_HOP_S = 0.1  # blocks overlap by 75 %
_ABSOLUTE_GATE = -70.0  # LUFS
_RELATIVE_GATE = -10.0  # LU


@dataclass(frozen=True)
class Level:
    """The level of mono audio.

    peak: its highest sample. lufs: its loudness; None where not measured.
    """

    peak: float
    lufs: float | None

    @property
    def is_silent(self) -> bool:
        return self.peak <= SILENCE_PEAK

    def highest_lufs(self) -> float:
        """The highest target that `loudness_gain` meets; −inf without a loudness."""
        return self.lufs + float(20 * np.log10(PEAK_CEILING / self.peak))


class LoudnessMeter:
    """Loudness and highest sample of mono audio that arrives in blocks.

    Raises AudioError for sample rates at which the weighting is not defined.
    """

    def __init__(self, sample_rate: int):
        if sample_rate <= _LEAST_RATE:
            raise AudioError(
                f"a sample rate of {sample_rate} Hz: loudness needs {_LEAST_RATE:.0f} Hz and more"
            )
        self._rate = sample_rate
        stages = [pyloudnorm.IIRfilter(*stage[:3], sample_rate, stage[3]) for stage in _WEIGHTING]
        self._sections = np.array([[*stage.b, *stage.a] for stage in stages])
        self._state = np.zeros((len(self._sections), 2))
        self._pending = np.zeros(0)  # weighted samples of the hop under way
        self._powers: list[float] = []  # sums of squares of the hops
        self.num_samples = 0
        self.peak = 0.0

    def push(self, block_T: np.ndarray) -> None:
        """Take a further (T,) block."""
        if len(block_T) == 0:
            return
        self.peak = max(self.peak, float(np.abs(block_T).max()))
        self.num_samples += len(block_T)
        weighted_T, self._state = scipy.signal.sosfilt(
            self._sections, block_T.astype(np.float64), zi=self._state
        )
        self._pending = np.concatenate([self._pending, weighted_T])
        while len(self._pending) >= (length := self._hop_length()):
            self._powers.append(float(np.square(self._pending[:length]).sum()))
            self._pending = self._pending[length:]

    def _hop_length(self) -> int:
        """Samples of the hop under way: where 0.1 s is no whole number, lengths vary by one."""
        index = len(self._powers)
        return int(_HOP_S * (index + 1) * self._rate) - int(_HOP_S * index * self._rate)

    def lufs(self) -> float:
        """Integrated loudness in LUFS; −inf without a block above −70 LUFS.

        Raises AudioError for audio shorter than BLOCK_S.
        """
        if len(self._powers) < round(BLOCK_S / _HOP_S):
            raise AudioError(
                f"too short to have a loudness: {self.num_samples / self._rate:.3g} s, "
                f"{BLOCK_S} s needed"
            )
        hops_per_block = round(BLOCK_S / _HOP_S)
        sums_B = np.convolve(self._powers, np.ones(hops_per_block), "valid")
        power_B = np.maximum(sums_B / (BLOCK_S * self._rate), 0)
        loudness_B = _lufs(power_B)
        above_B = loudness_B > _ABSOLUTE_GATE
        if not above_B.any():
            return -np.inf
        relative = _lufs(power_B[above_B].mean()) + _RELATIVE_GATE
        return float(_lufs(power_B[above_B & (loudness_B > relative)].mean()))


def _lufs(power: np.ndarray) -> np.ndarray:
    """BS.1770's scale: a mono sine of 997 Hz at full scale has −3.01 LUFS."""
    return -0.691 + 10 * np.log10(np.maximum(power, 1e-20))


def loudness(audio_T: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of (T,) mono audio in LUFS; −inf without a block above −70 LUFS.

    Raises AudioError for audio shorter than BLOCK_S.
    """
    meter = LoudnessMeter(sample_rate)
    meter.push(audio_T)
    return meter.lufs()


def loudness_gain(lufs: float, peak: float, target_lufs: float) -> float:
    """The factor that brings audio of a loudness and a highest sample to a target.

    Nothing is clipped or compressed: where the target would take the highest sample beyond
    PEAK_CEILING, the factor is the one that takes it there, and the audio stays below the target.
    Audio without any block above −70 LUFS (silence) keeps its level.
    """
    if lufs == -np.inf:
        return 1.0
    return min(10 ** ((target_lufs - lufs) / 20), PEAK_CEILING / peak)


def normalise_loudness(
    audio_T: np.ndarray, sample_rate: int, target_lufs: float
) -> tuple[np.ndarray, Level]:
    """(T,) mono audio times its `loudness_gain`, float32 (T,); and its level before.

    Raises AudioError for audio shorter than BLOCK_S, and as `LoudnessMeter`.
    """
    meter = LoudnessMeter(sample_rate)
    meter.push(audio_T)
    level = Level(meter.peak, meter.lufs())
    gain = loudness_gain(level.lufs, level.peak, target_lufs)
    return audio_T.astype(np.float32) * np.float32(gain), level
