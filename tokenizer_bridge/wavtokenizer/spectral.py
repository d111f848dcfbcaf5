"""An encoder that hears no phase, and a backbone without normalisation over time.

A steady tone has steady magnitudes, so its codes can stay the same from frame to frame, which
waveform encoders do not give: there, the phase at which a frame meets the tone comes and goes with
the code rate. B batch, C channels, D width, T samples, L frames.
"""

import math

import torch
import torchaudio
from torch import nn

from tokenizer_bridge.wavtokenizer.seanet import reflect_pad
from tokenizer_bridge.wavtokenizer.vocos import ConvNeXtBlock, extend_ends

LONG_WINDOW = 4096  # samples: 5.9 Hz bins, for pitch
SHORT_WINDOW = 512  # samples: for onsets
LOWEST_HZ = 55.0
BANDS_PER_OCTAVE = 36
OCTAVES = 7
MEL_BANDS = 64
FLOOR = 1e-4  # of a magnitude, 1 for a full-scale sine, before its logarithm


class Spectra(nn.Module):
    """Log magnitudes of each frame: a long window by pitch, short ones by their place in it."""

    def __init__(self, sample_rate: int, hop_length: int, subframes: int):
        super().__init__()
        self.hop_length, self.subframes = hop_length, subframes
        bank = pitch_bank(sample_rate)
        mel = torchaudio.functional.melscale_fbanks(
            SHORT_WINDOW // 2 + 1, 0.0, sample_rate / 2, MEL_BANDS, sample_rate, norm=None
        )
        self.register_buffer("pitch_bank", bank, persistent=False)  # (F, bands)
        self.register_buffer("mel_bank", mel, persistent=False)  # (F, mel bands)
        for size in (LONG_WINDOW, SHORT_WINDOW):
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)
        self.num_channels = bank.shape[1] + subframes * MEL_BANDS

    def forward(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, T) audio to (B, L, `num_channels`), L = ceil(T / hop), of a scale near one."""
        B, T = audio_BxT.shape
        L = math.ceil(T / self.hop_length)
        pitch = self._magnitude(audio_BxT, LONG_WINDOW, self.hop_length, L) @ self.pitch_bank
        short = self._magnitude(
            audio_BxT, SHORT_WINDOW, self.hop_length // self.subframes, L * self.subframes
        )
        mel = (short @ self.mel_bank).reshape(B, L, self.subframes * MEL_BANDS)
        return (torch.cat([pitch, mel], -1) + FLOOR).log() * 0.5 + 3.0

    def _magnitude(self, audio_BxT: torch.Tensor, size: int, hop: int, frames: int) -> torch.Tensor:
        """Magnitudes (B, frames, F) of windows centred in stretches of `hop` samples."""
        left = (size - hop) // 2
        right = size + (frames - 1) * hop - left - audio_BxT.shape[1]
        padded = reflect_pad(audio_BxT[:, None], left, right)[:, 0]
        window = getattr(self, f"window_{size}")
        spectrum = torch.stft(padded, size, hop, window=window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return (power + 1e-12).sqrt().transpose(1, 2) * (2 / window.sum())


def pitch_bank(sample_rate: int) -> torch.Tensor:
    """Triangular bands (F, bands) at equal steps of pitch, none narrower than two bins."""
    step = 2 ** (1 / BANDS_PER_OCTAVE)
    centre = LOWEST_HZ * step ** torch.arange(BANDS_PER_OCTAVE * OCTAVES, dtype=torch.float64)
    bin_hz = sample_rate / LONG_WINDOW
    hertz = torch.arange(LONG_WINDOW // 2 + 1, dtype=torch.float64) * bin_hz
    half_width = (centre * (step - 1)).clamp_min(bin_hz)
    bank = (1 - (hertz[:, None] - centre).abs() / half_width).clamp_min(0)
    return (bank / bank.sum(0)).float()


class SpectralEncoder(nn.Module):
    """(B, 1, T) waveform to (B, dimension, ceil(T / hop)) vectors."""

    def __init__(
        self,
        dimension: int,
        sample_rate: int,
        hop_length: int,
        subframes: int,
        dim: int,
        num_layers: int,
    ):
        super().__init__()
        self.spectra = Spectra(sample_rate, hop_length, subframes)
        self.embed = nn.Linear(self.spectra.num_channels, dim)
        self.blocks = nn.ModuleList(
            ConvNeXtBlock(dim, 2 * dim, 1 / num_layers, None) for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.out = nn.Linear(dim, dimension)
        nn.init.normal_(self.out.weight, std=dim**-0.5)  # outputs of unit variance
        nn.init.zeros_(self.out.bias)

    def forward(self, audio_Bx1xT: torch.Tensor) -> torch.Tensor:
        with torch.autocast(audio_Bx1xT.device.type, enabled=False):
            features_BxLxF = self.spectra(audio_Bx1xT[:, 0].float())
        x_BxDxL = self.embed(features_BxLxF).transpose(1, 2)
        for block in self.blocks:
            x_BxDxL = block(x_BxDxL)
        with torch.autocast(audio_Bx1xT.device.type, enabled=False):
            x_BxLxD = self.norm(x_BxDxL.transpose(1, 2).float())
            return self.out(x_BxLxD).transpose(1, 2)


class LocalBackbone(nn.Module):
    """(B, C, L) vectors to (B, L, dim) features that depend on nearby frames only.

    Blocks dilated 1, 1, 2, 2, 4, 4 … reach `reach` frames to either side; no attention and no norm
    over time, so that a window decodes as the whole does, but for its ends.
    """

    def __init__(self, in_channels: int, dim: int, intermediate_dim: int, num_layers: int):
        super().__init__()
        dilations = [2 ** (i // 2 % 3) for i in range(num_layers)]
        self.reach = 3 + 3 * sum(dilations)
        self.embed = nn.Conv1d(in_channels, dim, kernel_size=7, padding=3)
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(dim, intermediate_dim, 1 / num_layers, None, dilation)
            for dilation in dilations
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, z_BxCxL: torch.Tensor) -> torch.Tensor:
        # The ends go on as they are: zeros would be a change that no sound has made.
        z_BxLxC = extend_ends(z_BxCxL.transpose(1, 2), self.reach)
        x_BxDxL = self.embed(z_BxLxC.transpose(1, 2))
        x_BxDxL = self.norm(x_BxDxL.transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x_BxDxL = block(x_BxDxL)
        x_BxLxD = self.final_layer_norm(x_BxDxL.transpose(1, 2))
        return x_BxLxD[:, self.reach : x_BxLxD.shape[1] - self.reach]
