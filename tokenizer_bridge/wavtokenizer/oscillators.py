"""A synthesiser as the decoder's head: running oscillators and filtered noise.

Every oscillator's phase is a function of the absolute time alone, so what the codes control is
amplitude, and a code that stays the same sounds perfectly steady partials at any pitch. An inverse
STFT with predicted phases can't: with a constant code it repeats every hop, which allows lines at
multiples of the code rate only. Additive synthesis with noise follows Serra & Smith 1990 and
DDSP (Engel et al. 2020). B batch, L codes, S subframes a code, M = L·S, K oscillators.
"""

import math

import torch
import torch.nn.functional as F
import torchaudio
from torch import nn

from tokenizer_bridge.wavtokenizer.vocos import ConvNeXtBlock, extend_ends, overlap_add

LOWEST_HZ = 55.0  # A1 of A4 = 440 Hz, so that the grid holds every note of equal temperament
PER_OCTAVE = 120  # 10 cents
NOISE_OVERLAP = 4  # noise windows, in subframes


class OscillatorBank(nn.Module):
    """Amplitudes (B, M, K) to audio (B, M·hop): sum of a_k(t)·cos(2π f_k t + φ_k).

    Amplitudes fade from subframe to subframe by Hann windows that sum to one.
    """

    def __init__(self, num_oscillators: int, sample_rate: int, hop_length: int):
        super().__init__()
        self.hop_length = hop_length
        pitch = torch.arange(num_oscillators, dtype=torch.float64) / PER_OCTAVE
        cycles_K = LOWEST_HZ * 2**pitch / sample_rate  # a sample
        n = torch.arange(2 * hop_length, dtype=torch.float64)
        window = torch.hann_window(2 * hop_length, dtype=torch.float64)
        angle = 2 * math.pi * cycles_K[:, None] * n  # (K, 2 hop)
        self.register_buffer("cycles", cycles_K, persistent=False)
        # Phases by a hash, not a generator: the same in every version of PyTorch.
        self.register_buffer("phase", _hash(torch.arange(num_oscillators)), persistent=False)
        self.register_buffer("cosine", (window * angle.cos()).float(), persistent=False)
        self.register_buffer("sine", (window * angle.sin()).float(), persistent=False)

    def forward(self, amplitude_BxMxK: torch.Tensor, first_B: torch.Tensor) -> torch.Tensor:
        """first_B: absolute subframe of each row's first, (B,), or (1,) for all rows."""
        M = amplitude_BxMxK.shape[1]
        m_BxM = first_B[:, None] + torch.arange(M, device=first_B.device)
        start = (m_BxM * self.hop_length - self.hop_length // 2).to(self.cycles.dtype)
        turns = (start[..., None] * self.cycles + self.phase) % 1  # in float64: hours stay exact
        angle_BxMxK = (2 * math.pi * turns).float()
        frames_BxMxN = (amplitude_BxMxK * angle_BxMxK.cos()) @ self.cosine
        frames_BxMxN = frames_BxMxN - (amplitude_BxMxK * angle_BxMxK.sin()) @ self.sine
        return overlap_add(frames_BxMxN, self.hop_length)


class FilteredNoise(nn.Module):
    """Log magnitudes of bands (B, M, bands) to audio (B, M·hop): white noise, filtered.

    The noise at a sample is a hash of its absolute position.
    """

    def __init__(self, num_bands: int, sample_rate: int, hop_length: int):
        super().__init__()
        self.hop_length, self.size = hop_length, NOISE_OVERLAP * hop_length
        window = torch.hann_window(self.size)
        self.register_buffer("window", window, persistent=False)
        self.gain = 1 / window.square()[::hop_length].sum().item()  # of the overlapping windows
        bank = torchaudio.functional.melscale_fbanks(
            self.size // 2 + 1, 0.0, sample_rate / 2, num_bands, sample_rate
        )
        bank[0], bank[-1] = bank[1], bank[-2]  # the outermost bins belong to no triangle
        interpolation = bank.T / bank.sum(1).clamp_min(1e-6)  # (bands, F)
        self.register_buffer("interpolation", interpolation, persistent=False)

    def forward(self, log_magnitude_BxMxN: torch.Tensor, first_B: torch.Tensor) -> torch.Tensor:
        """first_B as of `OscillatorBank`."""
        M, hop = log_magnitude_BxMxN.shape[1], self.hop_length
        length = M * hop + self.size - hop
        start_B = first_B * hop - (self.size - hop) // 2
        position = start_B[:, None] + torch.arange(length, device=first_B.device)
        noise_BxT = (2 * _hash(position) - 1).float() * math.sqrt(3)  # unit variance
        spectrum = torch.fft.rfft(noise_BxT.unfold(1, self.size, hop) * self.window)  # (B, M, F)
        magnitude = (log_magnitude_BxMxN @ self.interpolation).exp()
        frames = torch.fft.irfft(spectrum * magnitude, self.size) * self.window
        return overlap_add(frames, hop) * self.gain


class OscillatorHead(nn.Module):
    """(B, L, dim) features to (B, L·hop) samples by way of amplitudes at S subframes a code.

    A subframe's place within its code counts only where features change from code to code, so that
    constant codes give constant amplitudes: no modulation at the code rate can come from the head.
    """

    def __init__(
        self,
        dim: int,
        sample_rate: int,
        hop_length: int,
        subframes: int,
        num_oscillators: int,
        noise_bands: int,
        width: int = 192,
    ):
        super().__init__()
        self.subframes, self.width = subframes, width
        hop = hop_length // subframes
        self.level = nn.Linear(dim, width)
        self.change = nn.Linear(2 * dim, subframes * width, bias=False)
        self.block = ConvNeXtBlock(width, 2 * width, 0.5, None)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.out = nn.Linear(width, num_oscillators + noise_bands)
        self.oscillators = OscillatorBank(num_oscillators, sample_rate, hop)
        self.noise = FilteredNoise(noise_bands, sample_rate, hop)
        self.sizes = (num_oscillators, noise_bands)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        K, _ = self.sizes
        octave_K = torch.arange(K) / PER_OCTAVE
        nn.init.normal_(self.out.weight, std=0.02)
        self.out.bias.fill_(-7.0)
        # Quiet, falling with pitch, and the notes of equal temperament before what lies between.
        self.out.bias[:K] = -7.0 - 0.4 * octave_K
        self.out.bias[: K : PER_OCTAVE // 12] += 1.5
        nn.init.zeros_(self.change.weight)

    def amplitudes(self, x_BxLxD: torch.Tensor) -> torch.Tensor:
        """Log amplitudes (B, M, K + bands) of oscillators and noise."""
        B, L, _ = x_BxLxD.shape
        change = extend_ends(x_BxLxD, 1).diff(
            dim=1
        )  # (B, L + 1, D): before the first, between, after the last
        before, after = change[:, :-1], change[:, 1:]
        place_S = (torch.arange(self.subframes, device=x_BxLxD.device) + 0.5) / self.subframes - 0.5
        place_S = place_S.to(x_BxLxD.dtype)[:, None]
        # Linear between the codes' centres, and beside it what is learnt about changes.
        x_BxLxSxD = (
            x_BxLxD[:, :, None]
            + place_S.clamp(max=0) * before[:, :, None]
            + place_S.clamp(min=0) * after[:, :, None]
        )
        h = self.level(x_BxLxSxD)
        h = h + self.change(torch.cat([before, after], -1)).unflatten(-1, (self.subframes, -1))
        h_BxMxW = F.gelu(h.reshape(B, L * self.subframes, self.width))
        extended = extend_ends(h_BxMxW, 3).transpose(1, 2)
        h_BxMxW = self.block(extended).transpose(1, 2)[:, 3:-3]
        # Not in bfloat16, whose steps of 3% in amplitude would be heard.
        with torch.autocast(x_BxLxD.device.type, enabled=False):
            return self.out(self.norm(h_BxMxW.float()))

    def forward(self, x_BxLxD: torch.Tensor, first_B: torch.Tensor | None = None) -> torch.Tensor:
        """first_B: absolute position, in codes, of each row's first code; 0 if not given."""
        if first_B is None:
            first_B = torch.zeros(1, dtype=torch.long, device=x_BxLxD.device)
        log_amplitude = self.amplitudes(x_BxLxD)
        with torch.autocast(x_BxLxD.device.type, enabled=False):
            tone, noise = log_amplitude.clamp(max=2.0).split(self.sizes, dim=-1)
            first_B = first_B * self.subframes
            return self.oscillators(tone.exp(), first_B) + self.noise(noise, first_B)


def _hash(index: torch.Tensor) -> torch.Tensor:
    """A fixed number of [0, 1), float64, for every whole number (a 32-bit integer hash)."""
    x = index & 0xFFFFFFFF
    for _ in range(2):
        x = ((x >> 16) ^ x) * 0x45D9F3B & 0xFFFFFFFF
    x = (x >> 16) ^ x
    return x.double() / 2**32
