"""Loudness of audio."""

import numpy as np
import pyloudnorm

from tokenizer_bridge.audio import AudioError

BLOCK_S = 0.4  # of BS.1770's measurement; anything shorter has no loudness
PEAK_CEILING = 1.0  # full scale


def loudness(audio_T: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness in LUFS of (T,) mono audio: ITU-R BS.1770-4, gated; −inf if there is no
    block above −70 LUFS.

    Raises AudioError for audio shorter than BLOCK_S.
    """
    if len(audio_T) < BLOCK_S * sample_rate:
        raise AudioError(
            f"too short to have a loudness: {len(audio_T) / sample_rate:.3g} s, {BLOCK_S} s needed"
        )
    # "DeMan" names the filters that have BS.1770's own coefficients at 48 kHz.
    meter = pyloudnorm.Meter(sample_rate, filter_class="DeMan")
    return float(meter.integrated_loudness(audio_T.astype(np.float64)))


def normalise_loudness(audio_T: np.ndarray, sample_rate: int, target_lufs: float) -> np.ndarray:
    """(T,) mono audio brought to a loudness by one gain; float32 (T,).

    Peaks: nothing is clipped or compressed. Where the target would take the highest sample beyond
    PEAK_CEILING, the gain is the one that takes it there, and the audio stays below the target.
    Audio without any block above −70 LUFS (silence) is left as it is. Raises AudioError for audio
    shorter than BLOCK_S.
    """
    return audio_T.astype(np.float32) * np.float32(
        gain(loudness(audio_T, sample_rate), float(np.abs(audio_T).max()), target_lufs)
    )


def gain(measured_lufs: float, peak: float, target_lufs: float) -> float:
    """The factor that brings audio of a loudness and a peak to a target, by the rules above."""
    if measured_lufs == -np.inf:
        return 1.0
    return min(10 ** ((target_lufs - measured_lufs) / 20), PEAK_CEILING / peak)
