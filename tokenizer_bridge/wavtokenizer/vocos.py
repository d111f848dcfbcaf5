"""Vocos decoder: vectors to waveform through a ConvNeXt backbone and an inverse STFT.

Siuzdak 2023, with the attention front of WavTokenizer (Ji et al. 2024). State-dict names are the
published ones. B batch, C channels, L frames.
"""

import torch
import torch.nn.functional as F
from torch import nn


def group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(num_groups=32, num_channels=channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """Two rounds of group norm, swish and a kernel-3 convolution around a skip."""

    def __init__(self, channels: int, dropout: float = 0.1):
        super().__init__()
        self.norm1 = group_norm(channels)
        self.conv1 = nn.Conv1d(channels, channels, kernel_size=3, padding=1)
        self.norm2 = group_norm(channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv1d(channels, channels, kernel_size=3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(self.dropout(F.silu(self.norm2(h))))


class AttentionBlock(nn.Module):
    """Single-head self-attention over all frames."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm = group_norm(channels)
        for name in ("q", "k", "v", "proj_out"):
            setattr(self, name, nn.Conv1d(channels, channels, kernel_size=1))

    def forward(self, x_BxCxL: torch.Tensor) -> torch.Tensor:
        h_BxLxC = self.norm(x_BxCxL).transpose(1, 2)
        q, k, v = (pointwise(conv, h_BxLxC) for conv in (self.q, self.k, self.v))  # (B, L, C)
        y_BxLxC = F.scaled_dot_product_attention(q, k, v)
        return x_BxCxL + pointwise(self.proj_out, y_BxLxC).transpose(1, 2)


def pointwise(conv: nn.Conv1d, x_BxLxC: torch.Tensor) -> torch.Tensor:
    """A kernel-1 convolution as the matrix product that it is, which a CPU does faster."""
    return F.linear(x_BxLxC, conv.weight[:, :, 0], conv.bias)


class AdaLayerNorm(nn.Module):
    """Layer norm whose scale and shift depend on a class; the published codecs use class 0 only."""

    def __init__(self, num_classes: int, dim: int):
        super().__init__()
        self.scale = nn.Embedding(num_classes, dim)
        self.shift = nn.Embedding(num_classes, dim)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x_BxLxC: torch.Tensor) -> torch.Tensor:
        scale, shift = self.scale.weight[0], self.shift.weight[0]
        return F.layer_norm(x_BxLxC, scale.shape, scale, shift, eps=1e-6)


def frame_norm(num_classes: int | None, dim: int) -> nn.Module:
    return AdaLayerNorm(num_classes, dim) if num_classes else nn.LayerNorm(dim, eps=1e-6)


class ConvNeXtBlock(nn.Module):
    """Depthwise kernel 7, norm, two pointwise layers, scaled by gamma, around a skip."""

    def __init__(
        self,
        dim: int,
        intermediate_dim: int,
        gamma: float,
        num_classes: int | None,
        dilation: int = 1,
    ):
        super().__init__()
        self.dwconv = nn.Conv1d(
            dim, dim, kernel_size=7, padding=3 * dilation, dilation=dilation, groups=dim
        )
        self.norm = frame_norm(num_classes, dim)
        self.pwconv1 = nn.Linear(dim, intermediate_dim)
        self.pwconv2 = nn.Linear(intermediate_dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), gamma))

    def forward(self, x_BxCxL: torch.Tensor) -> torch.Tensor:
        h_BxLxC = self.norm(self.dwconv(x_BxCxL).transpose(1, 2))
        h_BxLxC = self.gamma * self.pwconv2(F.gelu(self.pwconv1(h_BxLxC)))
        return x_BxCxL + h_BxLxC.transpose(1, 2)


class VocosBackbone(nn.Module):
    """(B, C, L) vectors to (B, L, dim) features."""

    def __init__(
        self,
        in_channels: int,
        dim: int,
        intermediate_dim: int,
        num_layers: int,
        num_classes: int | None,
    ):
        super().__init__()
        self.embed = nn.Conv1d(in_channels, dim, kernel_size=7, padding=3)
        self.norm = frame_norm(num_classes, dim)
        self.convnext = nn.ModuleList(
            ConvNeXtBlock(dim, intermediate_dim, 1 / num_layers, num_classes)
            for _ in range(num_layers)
        )
        self.final_layer_norm = nn.LayerNorm(dim, eps=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Conv1d | nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)
        # After the loop above: the published program leaves these at PyTorch's own initial values.
        self.pos_net = nn.Sequential(
            ResnetBlock(dim),
            ResnetBlock(dim),
            AttentionBlock(dim),
            ResnetBlock(dim),
            ResnetBlock(dim),
            group_norm(dim),
        )

    def forward(self, z_BxCxL: torch.Tensor) -> torch.Tensor:
        x_BxCxL = self.pos_net(self.embed(z_BxCxL))
        x_BxCxL = self.norm(x_BxCxL.transpose(1, 2)).transpose(1, 2)
        for block in self.convnext:
            x_BxCxL = block(x_BxCxL)
        return self.final_layer_norm(x_BxCxL.transpose(1, 2))


class InverseSTFT(nn.Module):
    """Overlap-add of windowed frames, trimmed so that L frames give exactly L·hop samples."""

    def __init__(self, n_fft: int, hop_length: int):
        super().__init__()
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(n_fft))

    def forward(self, spectrum_BxLxF: torch.Tensor) -> torch.Tensor:
        L = spectrum_BxLxF.shape[1]
        frames = torch.fft.irfft(spectrum_BxLxF, self.n_fft, dim=-1) * self.window  # (B, L, n_fft)
        envelope = self.window.square().expand(1, L, -1)
        hop = self.hop_length
        return overlap_add(frames, hop) / overlap_add(envelope, hop)


def extend_ends(x_BxLxC: torch.Tensor, count: int) -> torch.Tensor:
    """(B, L + 2·count, C): the first and the last frame, repeated. Zeros would be a change."""
    first, last = (x_BxLxC[:, i].unsqueeze(1).expand(-1, count, -1) for i in (0, -1))
    return torch.cat([first, x_BxLxC, last], 1)


def overlap_add(frames_BxLxN: torch.Tensor, hop_length: int) -> torch.Tensor:
    """Sum (B, L·hop) of frames (B, L, N) that start a hop apart, trimmed alike at both ends."""
    B, L, N = frames_BxLxN.shape
    overlap = -(-N // hop_length)  # frames that reach into one hop
    padded = F.pad(frames_BxLxN, (0, overlap * hop_length - N))
    chunks = padded.reshape(B, L, overlap, hop_length)
    out = chunks.new_zeros(B, L + overlap - 1, hop_length)
    for i in range(overlap):
        out[:, i : i + L] += chunks[:, :, i]
    trim = (N - hop_length) // 2
    return out.reshape(B, -1)[:, trim : (L - 1) * hop_length + N - trim]


class ISTFTHead(nn.Module):
    """(B, L, dim) features to log-magnitude and phase, and those to (B, L·hop) samples."""

    def __init__(self, dim: int, n_fft: int, hop_length: int):
        super().__init__()
        self.out = nn.Linear(dim, n_fft + 2)
        self.istft = InverseSTFT(n_fft, hop_length)

    def forward(self, x_BxLxC: torch.Tensor, first_B: torch.Tensor | None = None) -> torch.Tensor:
        """first_B, where the audio stands in a longer one, makes no difference to this head."""
        log_magnitude, phase = self.out(x_BxLxC).chunk(2, dim=-1)  # (B, L, n_fft/2 + 1) each
        magnitude = log_magnitude.exp().clamp(max=1e2)  # the published guard against bursts
        return self.istft(torch.polar(magnitude, phase))
