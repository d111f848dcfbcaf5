"""Damage of known strength, which a distance should see growing. T samples, float32."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torchaudio

_N_FFT, _HOP = 2048, 512
_ORDER = 8  # of the low-pass: 48 dB an octave

# An apparent signal-to-noise ratio would be −∞ where there is silence: noise of this RMS at least.
_LEAST_RMS = 1e-5


def low_pass(audio_T: np.ndarray, sample_rate: int, cutoff: float) -> np.ndarray:
    """Take away what lies above `cutoff` Hz: Butterworth's magnitude of order 8, no phase shift."""
    hertz = np.fft.rfftfreq(len(audio_T), 1 / sample_rate)
    gains = 1 / np.sqrt(1 + (hertz / cutoff) ** (2 * _ORDER))
    return np.fft.irfft(np.fft.rfft(audio_T) * gains, len(audio_T)).astype(np.float32)


def add_noise(audio_T: np.ndarray, sample_rate: int, snr_db: float, seed: int = 0) -> np.ndarray:
    """Add white noise `snr_db` below the audio's RMS, of the same seed for every clip."""
    del sample_rate
    rms = max(np.sqrt(np.square(audio_T, dtype=np.float64).mean()), _LEAST_RMS)
    noise_T = np.random.default_rng(seed).standard_normal(len(audio_T))
    return (audio_T + rms * 10 ** (-snr_db / 20) * noise_T).astype(np.float32)


def slow_down(audio_T: np.ndarray, sample_rate: int, rate: float) -> np.ndarray:
    """Play at `rate` (< 1) times the speed at the same pitch, as long as it was: the end is lost.

    A phase vocoder (windows of 2,048, hop 512), with the smeared transients that it is known for.
    """
    del sample_rate
    return _vocoder(audio_T, rate)[: len(audio_T)]


def slow_down_and_back(audio_T: np.ndarray, sample_rate: int, rate: float) -> np.ndarray:
    """Play at `rate` (< 1) times the speed, and that at 1 / `rate`: what the vocoder alone does.

    The tempo and all notes are as they were; the vocoder's sound is there twice.
    """
    del sample_rate
    padded_T = np.pad(audio_T, (0, _HOP))  # of which the vocoder loses what fills no hop
    return _vocoder(_vocoder(padded_T, rate), 1 / rate)[: len(audio_T)]


def _vocoder(audio_T: np.ndarray, rate: float) -> np.ndarray:
    window = torch.hann_window(_N_FFT)
    shape = {"n_fft": _N_FFT, "hop_length": _HOP, "window": window}
    spectrum = torch.stft(torch.from_numpy(audio_T), return_complex=True, **shape)
    advance_Kx1 = torch.linspace(0, torch.pi * _HOP, spectrum.shape[0])[:, None]
    stretched = torchaudio.functional.phase_vocoder(spectrum, rate, advance_Kx1)
    return torch.istft(stretched, **shape).numpy()


@dataclass(frozen=True)
class Family:
    """One kind of damage, from little to much.

    label: for people, of a strength. is_baseline: tells what of another family's distance is not
    its damage, and need not rise.
    """

    damage: Callable[[np.ndarray, int, float], np.ndarray]
    strengths: tuple[float, ...]
    label: str
    is_baseline: bool = False


_TEMPOS = (0.9, 0.75, 0.5)
FAMILIES: Mapping[str, Family] = {
    "low_pass": Family(low_pass, (6000.0, 3000.0, 1500.0, 750.0), "low-pass at {:,g} Hz"),
    "noise": Family(add_noise, (30.0, 20.0, 10.0, 0.0), "noise {:g} dB below"),
    "tempo": Family(slow_down, _TEMPOS, "at {:g} of the tempo"),
    "tempo_and_back": Family(
        slow_down_and_back, _TEMPOS, "to {:g} of the tempo and back", is_baseline=True
    ),
}
