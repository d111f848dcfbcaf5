"""Reconstruction losses of codec training: spectra at several window lengths.

B batch, T samples, F frequency bins or mel bands, L frames.
"""

from dataclasses import dataclass

import torch
import torchaudio
from torch import nn

MEL_WINDOWS = {512: 64, 1280: 100, 4096: 160}  # window length in samples: mel bands
LINEAR_WINDOWS = (2048, 4096)  # long enough to resolve a comb at the code rate (75 Hz)
FLOOR = (
    1e-4  # of a magnitude, before its logarithm: −80 dB under a full-scale bin of unit magnitude
)


@dataclass(frozen=True)
class Reconstruction:
    """Terms of the loss, each a scalar mean over batch and windows."""

    log_mel: torch.Tensor  # L1 of natural-log mel magnitudes
    convergence: torch.Tensor  # ‖S − Ŝ‖ / ‖S‖ of linear magnitudes
    log_linear: torch.Tensor  # L1 of natural-log linear magnitudes at the long windows

    @property
    def total(self) -> torch.Tensor:
        return self.log_mel + self.convergence + 0.5 * self.log_linear


class MultiResolutionLoss(nn.Module):
    """Log-mel, spectral-convergence and log-linear distances (Yamamoto et al. 2020, eq. 4–6)."""

    def __init__(self, sample_rate: int):
        super().__init__()
        for n_fft, bands in MEL_WINDOWS.items():
            banks = torchaudio.functional.melscale_fbanks(
                n_fft // 2 + 1, 0.0, sample_rate / 2, bands, sample_rate
            )
            self.register_buffer(f"mel_{n_fft}", banks, persistent=False)  # (F, bands)
        for n_fft in {*MEL_WINDOWS, *LINEAR_WINDOWS}:
            self.register_buffer(f"window_{n_fft}", torch.hann_window(n_fft), persistent=False)

    def magnitude(self, audio_BxT: torch.Tensor, n_fft: int) -> torch.Tensor:
        """Magnitudes (B, L, F), 1 for a full-scale sine; windows of `n_fft`, a quarter apart."""
        window = getattr(self, f"window_{n_fft}")
        spectrum = torch.stft(
            audio_BxT, n_fft, n_fft // 4, window=window, center=True, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (power + 1e-12).sqrt().transpose(1, 2) * (2 / window.sum())

    def forward(self, audio_BxT: torch.Tensor, target_BxT: torch.Tensor) -> Reconstruction:
        log_mel, convergence, log_linear = [], [], []
        for n_fft in sorted({*MEL_WINDOWS, *LINEAR_WINDOWS}):
            S, S_hat = self.magnitude(target_BxT, n_fft), self.magnitude(audio_BxT, n_fft)
            if n_fft in MEL_WINDOWS:
                banks = getattr(self, f"mel_{n_fft}")
                log_mel.append(log_l1(S @ banks, S_hat @ banks))
                # Of the batch as a whole: by clip, near-silent ones would outweigh all the others.
                convergence.append((S - S_hat).norm() / S.norm().clamp_min(1e-3))
            if n_fft in LINEAR_WINDOWS:
                log_linear.append(log_l1(S, S_hat))
        terms = (torch.stack(t).mean() for t in (log_mel, convergence, log_linear))
        return Reconstruction(*terms)


def log_l1(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Mean |log a − log b|, both floored."""
    return (a.clamp_min(FLOOR).log() - b.clamp_min(FLOOR).log()).abs().mean()
