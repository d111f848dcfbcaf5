"""Damage of known strength, which a distance should see growing. T samples, float32."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torchaudio

_N_FFT, _HOP = 2048, 512
_ORDER = 8  # of the low-pass: 48 dB an octave

# An apparent signal-to-noise ratio would be −∞ where there is silence: noise of this RMS at least.
_LEAST_RMS = 1e-5


def low_pass(audio_T: np.ndarray, sample_rate: int, cutoff: float) -> np.ndarray:
    """Without what lies above `cutoff` Hz: Butterworth's magnitude of order 8, no phase shift."""
    hertz = np.fft.rfftfreq(len(audio_T), 1 / sample_rate)
    gains = 1 / np.sqrt(1 + (hertz / cutoff) ** (2 * _ORDER))
    return np.fft.irfft(np.fft.rfft(audio_T) * gains, len(audio_T)).astype(np.float32)


def add_noise(audio_T: np.ndarray, sample_rate: int, snr_db: float, seed: int = 0) -> np.ndarray:
    """With white noise `snr_db` below the audio's RMS, of the same seed for every clip."""
    del sample_rate
    rms = max(np.sqrt(np.square(audio_T, dtype=np.float64).mean()), _LEAST_RMS)
    noise_T = np.random.default_rng(seed).standard_normal(len(audio_T))
    return (audio_T + rms * 10 ** (-snr_db / 20) * noise_T).astype(np.float32)


def slow_down(audio_T: np.ndarray, sample_rate: int, rate: float) -> np.ndarray:
    """Played at `rate` (< 1) times its speed at the same pitch, as long as it was: the end is lost.

    A phase vocoder (windows of 2,048, hop 512), with the smeared transients that it is known for.
    """
    del sample_rate
    window = torch.hann_window(_N_FFT)
    shape = {"n_fft": _N_FFT, "hop_length": _HOP, "window": window}
    spectrum = torch.stft(torch.from_numpy(audio_T), return_complex=True, **shape)
    advance_Kx1 = torch.linspace(0, torch.pi * _HOP, spectrum.shape[0])[:, None]
    slow = torchaudio.functional.phase_vocoder(spectrum, rate, advance_Kx1)
    return torch.istft(slow, **shape)[: len(audio_T)].numpy()


# Each family from little to much.
FAMILIES: Mapping[str, tuple[Callable[[np.ndarray, int, float], np.ndarray], tuple[float, ...]]] = {
    "low_pass": (low_pass, (6000.0, 3000.0, 1500.0, 750.0)),  # Hz
    "noise": (add_noise, (30.0, 20.0, 10.0, 0.0)),  # dB of signal over noise
    "tempo": (slow_down, (0.9, 0.75, 0.5)),  # of the speed
}
