"""SEANet encoder: waveform to one vector per code (Tagliasacchi et al. 2020; EnCodec 2022).

Shapes: B batch, C channels, T samples or frames. State-dict names are the published ones.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn


class WeightNormConv1d(nn.Module):
    """Convolution with the weight g·v/‖v‖ (Salimans & Kingma 2016), stored as its two parts."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1):
        super().__init__()
        reference = nn.Conv1d(in_channels, out_channels, kernel)  # for PyTorch's initial values
        self.bias = reference.bias
        self.weight_v = reference.weight
        self.weight_g = nn.Parameter(reference.weight.detach().norm(dim=(1, 2), keepdim=True))
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weight = torch._weight_norm(self.weight_v, self.weight_g, 0)
        if weight.shape[2] == 1:  # a plain matrix product, far faster on a CPU than kernel 1
            return torch.matmul(weight[:, :, 0], x) + self.bias[:, None]
        return F.conv1d(x, weight, self.bias, self.stride)


def reflect_pad(x: torch.Tensor, left: int, right: int) -> torch.Tensor:
    """Reflects (B, C, T) at its ends; a signal too short to reflect is extended by zeros first."""
    if left == right == 0:
        return x
    missing = max(left, right) - x.shape[-1] + 1
    if missing <= 0:
        return F.pad(x, (left, right), mode="reflect")
    padded = F.pad(F.pad(x, (0, missing)), (left, right), mode="reflect")
    return padded[..., : padded.shape[-1] - missing]


class PaddedConv1d(nn.Module):
    """Convolution whose output has ceil(T / stride) frames, its input reflected at both ends."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1):
        super().__init__()
        # Two levels named `conv`, since the published state dict has them.
        inner = WeightNormConv1d(in_channels, out_channels, kernel, stride)
        self.conv = nn.ModuleDict({"conv": inner})
        self.kernel, self.stride = kernel, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = self.kernel - self.stride
        right = total // 2
        frames = math.ceil(x.shape[-1] / self.stride)
        extra = frames * self.stride - x.shape[-1]
        return self.conv["conv"](reflect_pad(x, total - right, right + extra))


class ResidualUnit(nn.Module):
    """ELU, kernel 3 to half the channels, ELU, kernel 1 back; plus a kernel-1 shortcut."""

    def __init__(self, channels: int):
        super().__init__()
        self.block = nn.Sequential(
            nn.ELU(),
            PaddedConv1d(channels, channels // 2, kernel=3),
            nn.ELU(),
            PaddedConv1d(channels // 2, channels, kernel=1),
        )
        self.shortcut = PaddedConv1d(channels, channels, kernel=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.block(x)


class ResidualLSTM(nn.Module):
    """LSTM over time with a skip connection, (B, C, T) to (B, C, T)."""

    def __init__(self, channels: int, num_layers: int):
        super().__init__()
        self.lstm = nn.LSTM(channels, channels, num_layers)

    def forward(self, x_BxCxT: torch.Tensor) -> torch.Tensor:
        y_TxBxC, _ = self.lstm(x_BxCxT.permute(2, 0, 1))
        return x_BxCxT + y_TxBxC.permute(1, 2, 0)


class SEANetEncoder(nn.Module):
    """(B, 1, T) waveform to (B, dimension, ceil(T / hop)) vectors.

    Args:
      num_filters: channels of the first layer; every stride doubles them.
      strides: of the decoder, so the encoder applies them in reverse.
    """

    def __init__(
        self, num_filters: int, dimension: int, strides: tuple[int, ...], lstm_layers: int
    ):
        super().__init__()
        channels = num_filters
        layers: list[nn.Module] = [PaddedConv1d(1, channels, kernel=7)]
        for stride in reversed(strides):
            down = PaddedConv1d(channels, 2 * channels, kernel=2 * stride, stride=stride)
            layers += [ResidualUnit(channels), nn.ELU(), down]
            channels *= 2
        if lstm_layers:
            layers.append(ResidualLSTM(channels, lstm_layers))
        layers += [nn.ELU(), PaddedConv1d(channels, dimension, kernel=7)]
        self.model = nn.Sequential(*layers)

    def forward(self, audio_Bx1xT: torch.Tensor) -> torch.Tensor:
        return self.model(audio_Bx1xT)
