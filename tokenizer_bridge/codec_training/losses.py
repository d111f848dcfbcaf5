"""Reconstruction losses of codec training: spectra at several window lengths.

What lies 60 dB under a clip's loudest component does not count: music does not let it be heard.
B batch, T samples, F frequency bins or mel bands, L frames.
"""

from dataclasses import dataclass

import torch
import torchaudio
from torch import nn

# Window length in samples: mel bands. Short ones place attacks; none must be blind to a comb at
# the code rate (75 Hz), so the long ones resolve it.
MEL_WINDOWS = {128: 16, 256: 32, 512: 64, 1024: 80, 2048: 128, 4096: 160}
LINEAR_WINDOWS = (2048, 4096)
LEVEL_WINDOW = 2048
FLOOR = 1e-3  # of the clip's greatest magnitude at that window: −60 dB
LEVEL_FLOOR = 1e-2  # of the clip's loudest frame
SILENT = 1e-5  # a floor is never under this magnitude, 1 for a full-scale sine


@dataclass(frozen=True)
class Reconstruction:
    """Terms of the loss, each a scalar mean over batch and windows."""

    log_mel: torch.Tensor  # L1 of natural-log mel magnitudes
    convergence: torch.Tensor  # ‖S − Ŝ‖ / ‖S‖ of linear magnitudes
    log_linear: torch.Tensor  # L1 of natural-log linear magnitudes at the long windows
    level: torch.Tensor  # L1 of natural-log RMS: the other terms leave the output too quiet

    @property
    def total(self) -> torch.Tensor:
        return self.log_mel + self.convergence + 0.5 * self.log_linear + 0.25 * self.level


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

    def magnitude(
        self, audio_BxT: torch.Tensor, n_fft: int, hop: int | None = None
    ) -> torch.Tensor:
        """Magnitudes (B, L, F), 1 for a full-scale sine; windows a quarter (or `hop`) apart."""
        window = getattr(self, f"window_{n_fft}")
        spectrum = torch.stft(
            audio_BxT, n_fft, hop or n_fft // 4, window=window, center=True, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return (power + 1e-12).sqrt().transpose(1, 2) * (2 / window.sum())

    def steadiness(self, audio_BxT: torch.Tensor, hop: int) -> torch.Tensor:
        """The steadiness of the spectrum from code to code, (B, T // hop), from 0 to 1."""
        S = self.magnitude(audio_BxT, 2048, hop)
        S = S + FLOOR * greatest(S)
        change = S.diff(dim=1).abs().sum(-1) / (S[:, 1:] + S[:, :-1]).sum(-1)
        return torch.exp(-(change / 0.05).square())

    def forward(self, audio_BxT: torch.Tensor, target_BxT: torch.Tensor) -> Reconstruction:
        log_mel, convergence, log_linear = [], [], []
        for n_fft in sorted({*MEL_WINDOWS, *LINEAR_WINDOWS}):
            S, S_hat = self.magnitude(target_BxT, n_fft), self.magnitude(audio_BxT, n_fft)
            if n_fft in MEL_WINDOWS:
                banks = getattr(self, f"mel_{n_fft}")
                log_mel.append(log_l1(S @ banks, S_hat @ banks, FLOOR))
                # Of the batch as a whole: by clip, near-silent ones would outweigh all the others.
                convergence.append((S - S_hat).norm() / S.norm().clamp_min(1e-3))
            if n_fft in LINEAR_WINDOWS:
                log_linear.append(log_l1(S, S_hat, FLOOR, by_audible=True))
        level = log_l1(frame_rms(target_BxT), frame_rms(audio_BxT), LEVEL_FLOOR)
        terms = (torch.stack(t).mean() for t in (log_mel, convergence, log_linear, [level]))
        return Reconstruction(*terms)


def frame_rms(audio_BxT: torch.Tensor) -> torch.Tensor:
    """Root mean square (B, L, 1) of frames half a frame apart."""
    size = min(LEVEL_WINDOW, audio_BxT.shape[1])
    power = audio_BxT.unfold(1, size, max(1, size // 2)).square().mean(-1, keepdim=True)
    return (power + 1e-12).sqrt()


def log_l1(
    target: torch.Tensor, other: torch.Tensor, floor: float, by_audible: bool = False
) -> torch.Tensor:
    """Mean |log a − log b| of (B, L, F), both raised by a share of each target's greatest value.

    by_audible: over what the target raises above that floor, instead of over everything. The
    partials of few voices fill few bins, and a mean over all of them would hardly see them.
    """
    raised = (floor * greatest(target)).clamp_min(SILENT)
    distance = ((target + raised).log() - (other + raised).log()).abs().mean()
    if not by_audible:
        return distance
    return distance / (target > raised).float().mean().clamp_min(0.05)


def greatest(x_BxLxF: torch.Tensor) -> torch.Tensor:
    """Each clip's greatest value, (B, 1, 1)."""
    return x_BxLxF.amax((1, 2), keepdim=True)
