"""PANNs CNN14 (Kong et al., arXiv:1912.10211), at 16 and 32 kHz. One vector a clip.

B clips, T samples, F frames, M mels, C channels.

Front end: at 16 kHz a 512-point transform, hop 160, 64 mels from 50 to 8,000 Hz; at 32 kHz 1,024
points, hop 320, 50 to 14,000 Hz. Frames are centred, the audio mirrored at its ends; periodic Hann
window; power spectrum; Slaney mels of area 1; 10·log10(max(x, 1e-10)). The vector is the 2,048
values after fc1's ReLU, which the published program calls "embedding".
"""

import torch
import torch.nn.functional as F
from torch import nn

from tokenizer_bridge.fad.spectrum import MelSpectrum, slaney_mel

_NUM_MELS, _LOW_HZ = 64, 50
_FLOOR = 1e-10
_WIDTHS = (64, 128, 256, 512, 1024, 2048)
_MIN_FRAMES = 2 ** (len(_WIDTHS) - 1)  # all blocks but the last halve them


class _Cnn14(nn.Module):
    """Audio to 2,048 values a clip; names of weights are the published program's."""

    DIM = 2048
    WINDOW_S = None  # the whole clip
    # The published front end keeps its constants as weights; its last layer makes tags.
    UNUSED_WEIGHTS = ("spectrogram_extractor.", "logmel_extractor.", "fc_audioset.")

    def __init__(self, n_fft: int, hop: int, high_hz: float):
        super().__init__()
        mel_SxM = slaney_mel(self.SAMPLE_RATE, n_fft, _NUM_MELS, _LOW_HZ, high_hz)
        self.mel = MelSpectrum(mel_SxM, n_fft=n_fft, hop=hop, power=2, centred=True)
        self.min_samples = (_MIN_FRAMES - 1) * hop
        self.bn0 = nn.BatchNorm2d(_NUM_MELS)
        for i, (channels_in, channels) in enumerate(zip((1, *_WIDTHS), _WIDTHS, strict=False), 1):
            self.add_module(f"conv_block{i}", _Block(channels_in, channels))
        self.fc1 = nn.Linear(self.DIM, self.DIM)

    def forward(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, 1, 2048) of (B, T) audio."""
        return self.of_log_mel(self.log_mel(audio_BxT))[:, None]

    def log_mel(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, F, 64): the network's input."""
        return 10 * torch.log10(self.mel(audio_BxT).clamp(min=_FLOOR))

    def of_log_mel(self, log_mel_BxFxM: torch.Tensor) -> torch.Tensor:
        """(B, 2048)."""
        normed_BxMxFx1 = self.bn0(log_mel_BxFxM.transpose(1, 2)[..., None])
        x_BxCxFxM = normed_BxMxFx1.permute(0, 3, 2, 1)
        for i in range(1, len(_WIDTHS) + 1):
            x_BxCxFxM = self.get_submodule(f"conv_block{i}")(x_BxCxFxM)
            if i < len(_WIDTHS):
                x_BxCxFxM = F.avg_pool2d(x_BxCxFxM, 2)
        x_BxCxF = x_BxCxFxM.mean(3)
        return self.fc1(x_BxCxF.amax(2) + x_BxCxF.mean(2)).relu()


class Cnn14At16k(_Cnn14):
    """`Cnn14_16k`."""

    SAMPLE_RATE = 16_000
    WEIGHTS = {"cnn14-16k": ""}

    def __init__(self):
        super().__init__(n_fft=512, hop=160, high_hz=8_000)


class Cnn14At32k(_Cnn14):
    """`Cnn14`."""

    SAMPLE_RATE = 32_000
    WEIGHTS = {"cnn14-32k": ""}

    def __init__(self):
        super().__init__(n_fft=1_024, hop=320, high_hz=14_000)


class _Block(nn.Module):
    """Twice a 3 × 3 convolution, batch normalisation and ReLU."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x_BxCxFxM: torch.Tensor) -> torch.Tensor:
        x_BxCxFxM = self.bn1(self.conv1(x_BxCxFxM)).relu()
        return self.bn2(self.conv2(x_BxCxFxM)).relu()
