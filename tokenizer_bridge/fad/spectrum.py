"""Mel spectra, as the embedding networks were trained on them.

B clips, T samples, F frames, S frequencies, M mels.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


class MelSpectrum(nn.Module):
    """Mel spectrum of audio, from a short-time Fourier transform with a periodic Hann window.

    mel_SxM: weights of S = n_fft/2 + 1 frequencies. window_length: samples; zeros fill it up to
    n_fft. power: 1 for magnitudes, 2 for their squares. centred: frame f is centred on sample
    f·hop, and the audio is mirrored at both ends; if not, it starts there, and only whole frames
    count. All sums are taken in float32.
    """

    def __init__(
        self,
        mel_SxM: np.ndarray,
        *,
        n_fft: int,
        hop: int,
        power: int,
        centred: bool,
        window_length: int | None = None,
    ):
        super().__init__()
        self.n_fft, self.hop, self.power, self.centred = n_fft, hop, power, centred
        self.window_length = window_length or n_fft
        window = torch.hann_window(self.window_length, dtype=torch.float64)
        self.register_buffer("window", window.float(), persistent=False)
        self.register_buffer("mel_SxM", torch.from_numpy(mel_SxM).float(), persistent=False)

    def forward(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, F, M) of (B, T) audio, neither logarithmic nor normalised."""
        if not self.centred:  # torch.stft puts a short window in the middle of n_fft samples
            audio_BxT = F.pad(audio_BxT, ((self.n_fft - self.window_length) // 2,) * 2)
        spectrum_BxSxF = torch.stft(
            audio_BxT,
            self.n_fft,
            self.hop,
            self.window_length,
            self.window,
            center=self.centred,
            pad_mode="reflect",
            return_complex=True,
        ).abs()
        if self.power == 2:
            spectrum_BxSxF = spectrum_BxSxF.square()
        return spectrum_BxSxF.transpose(1, 2) @ self.mel_SxM


def slaney_mel(
    sample_rate: int, n_fft: int, num_mels: int, low_hz: float, high_hz: float
) -> np.ndarray:
    """(S, M) triangles in Hz, of area 1, on Slaney's mel scale (Auditory Toolbox, 1998).

    The scale is linear up to 1 kHz (200/3 Hz a mel) and logarithmic above (27 mels for a factor of
    6.4): librosa's default.
    """
    edges_hz = _slaney_hz(np.linspace(_slaney_mels(low_hz), _slaney_mels(high_hz), num_mels + 2))
    frequencies_S = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    return _triangles(frequencies_S, edges_hz) * (2 / (edges_hz[2:] - edges_hz[:-2]))


def htk_mel(
    sample_rate: int, n_fft: int, num_mels: int, low_hz: float, high_hz: float
) -> np.ndarray:
    """(S, M) triangles of height 1, linear in mels rather than Hz, on HTK's mel scale.

    mel = 1127·ln(1 + Hz/700), as in Google's VGGish.
    """
    frequencies_S = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    edges = np.linspace(_htk_mels(low_hz), _htk_mels(high_hz), num_mels + 2)
    return _triangles(_htk_mels(frequencies_S), edges)


def _triangles(points_S: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(S, M): triangle m rises from edge m to edge m + 1 and falls to edge m + 2."""
    rise = (points_S[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - points_S[:, None]) / (edges[2:] - edges[1:-1])
    return np.maximum(0, np.minimum(rise, fall))


_SLANEY_BREAK_HZ, _SLANEY_HZ_PER_MEL = 1000.0, 200 / 3
_SLANEY_BREAK = _SLANEY_BREAK_HZ / _SLANEY_HZ_PER_MEL
_SLANEY_STEP = np.log(6.4) / 27  # in ln Hz, of a mel above the break


def _slaney_mels(hz: float) -> float:
    if hz < _SLANEY_BREAK_HZ:
        return hz / _SLANEY_HZ_PER_MEL
    return _SLANEY_BREAK + np.log(hz / _SLANEY_BREAK_HZ) / _SLANEY_STEP


def _slaney_hz(mels: np.ndarray) -> np.ndarray:
    above_hz = _SLANEY_BREAK_HZ * np.exp(_SLANEY_STEP * (mels - _SLANEY_BREAK))
    return np.where(mels < _SLANEY_BREAK, mels * _SLANEY_HZ_PER_MEL, above_hz)


def _htk_mels(hz: np.ndarray | float) -> np.ndarray:
    return 1127 * np.log(1 + np.asarray(hz) / 700)
