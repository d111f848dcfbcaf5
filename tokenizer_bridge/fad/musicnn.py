"""musicnn, the music tagger (Pons & Serra, arXiv:1909.06654): MSD_musicnn, trained on the MSD.

B clips, T samples, F frames, M mels, C channels, W windows.

Front end: 16 kHz; 512-point transform, hop 256, periodic Hann window, frames centred, the audio
mirrored at its ends; power spectrum; 96 Slaney mels of area 1, 0 to 8,000 Hz; log10(10,000·x + 1).
A clip is cut into windows of 187 frames (2.992 s) without overlap; what is left at the end is not
used. The published program rounds mel powers and their logarithms to float16, which overflows for
loud music; here all is float32.
"""

import torch
import torch.nn.functional as F
from torch import nn

from tokenizer_bridge.fad.spectrum import MelSpectrum, slaney_mel

_N_FFT, _HOP, _NUM_MELS = 512, 256, 96
_WINDOW_FRAMES = 187
_NORM_EPS = 1e-3  # of every batch normalisation: TensorFlow's default

TAGS = (
    "rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s",
    "alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists",
    "classic rock", "soul", "indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill",
    "instrumental", "punk", "oldies", "blues", "hard rock", "ambient", "acoustic",
    "experimental", "female vocalist", "guitar", "Hip-Hop", "70s", "party", "country",
    "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal", "Progressive rock",
    "60s", "rnb", "indie pop", "sad", "House", "happy",
)  # fmt: skip


class Musicnn(nn.Module):
    """Audio to the 200 values before the last layer (the published extractor's "penultimate")."""

    SAMPLE_RATE = 16_000
    DIM = 200
    WINDOW_S = _WINDOW_FRAMES * _HOP / SAMPLE_RATE
    WEIGHTS = {"musicnn": ""}
    UNUSED_WEIGHTS = ()
    min_samples = (_WINDOW_FRAMES - 1) * _HOP

    def __init__(self):
        super().__init__()
        mel_SxM = slaney_mel(self.SAMPLE_RATE, _N_FFT, _NUM_MELS, 0, self.SAMPLE_RATE / 2)
        self.mel = MelSpectrum(mel_SxM, n_fft=_N_FFT, hop=_HOP, power=2, centred=True)
        self.input_norm = nn.BatchNorm1d(1, eps=_NORM_EPS)
        # Kernels (frames, mels): chords and timbres of 40% and 70% of the range, then rhythms.
        self.timbral = nn.ModuleList(_FrontLayer(204, (7, width)) for width in (38, 67))
        self.temporal = nn.ModuleList(_FrontLayer(51, (length, 1)) for length in (128, 64, 32))
        self.middle = nn.ModuleList(_MiddleLayer(channels, 64) for channels in (561, 64, 64))
        self.pool_norm = nn.BatchNorm1d(1506, eps=_NORM_EPS)
        self.penultimate = nn.Linear(1506, self.DIM)
        self.penultimate_norm = nn.BatchNorm1d(self.DIM, eps=_NORM_EPS)
        self.tag_logits = nn.Linear(self.DIM, len(TAGS))

    def forward(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, W, 200) of (B, T) audio at 16 kHz."""
        windows_NxFxM = self.log_mel(audio_BxT)
        return self.of_log_mel(windows_NxFxM).unflatten(0, (len(audio_BxT), -1))

    def tag_probabilities(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, W, 50), in the order of TAGS, each on its own."""
        return self.tag_logits(self(audio_BxT)).sigmoid()

    def log_mel(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B·W, 187, 96): the network's input."""
        log_mel_BxFxM = torch.log10(10_000 * self.mel(audio_BxT) + 1)
        num_windows = log_mel_BxFxM.shape[1] // _WINDOW_FRAMES
        used = log_mel_BxFxM[:, : num_windows * _WINDOW_FRAMES]
        return used.reshape(-1, _WINDOW_FRAMES, log_mel_BxFxM.shape[2])

    def of_log_mel(self, log_mel_NxFxM: torch.Tensor) -> torch.Tensor:
        """(N, 200) of N windows."""
        # Few at a time on a CPU: the memory of layers above 32 MB is new, and slow, each time.
        at_once = 2 if log_mel_NxFxM.device.type == "cpu" else 128
        return torch.cat([self._penultimate(part) for part in log_mel_NxFxM.split(at_once)])

    def _penultimate(self, log_mel_NxFxM: torch.Tensor) -> torch.Tensor:
        flat_Nx1xS = self.input_norm(log_mel_NxFxM.flatten(1)[:, None])
        image_Nx1xFxM = flat_Nx1xS.unflatten(2, log_mel_NxFxM.shape[1:])
        front_NxCxF = torch.cat(
            [layer(image_Nx1xFxM) for layer in (*self.timbral, *self.temporal)], dim=1
        )
        middle_NxCxF = [self.middle[0](front_NxCxF)]
        for layer in self.middle[1:]:
            middle_NxCxF.append(layer(middle_NxCxF[-1]) + middle_NxCxF[-1])
        features_NxCxF = torch.cat([front_NxCxF, *middle_NxCxF], dim=1)
        # Maximum and mean of a channel lie side by side.
        pooled_NxC = torch.stack([features_NxCxF.amax(2), features_NxCxF.mean(2)], 2).flatten(1)
        return self.penultimate_norm(self.penultimate(self.pool_norm(pooled_NxC)).relu())


class _FrontLayer(nn.Module):
    """Convolution over frames and mels, ReLU, batch normalisation, maximum over mels."""

    def __init__(self, channels: int, kernel: tuple[int, int]):
        super().__init__()
        self.conv = nn.Conv2d(1, channels, kernel)
        self.norm = nn.BatchNorm1d(channels, eps=_NORM_EPS)

    def forward(self, image_Nx1xFxM: torch.Tensor) -> torch.Tensor:
        """(N, C, F), as many frames as came in."""
        extra = self.conv.kernel_size[0] - 1
        padded = F.pad(image_Nx1xFxM, (0, 0, extra // 2, extra - extra // 2))
        # All that follows the convolution rises with it, or falls where the normalisation's weight
        # is negative: its largest or smallest value decides, and the rest need not be computed.
        sign_C = 1 - 2 * (self.norm.weight < 0).float()
        out_NxCxFxM = F.conv2d(padded, self.conv.weight * sign_C[:, None, None, None])
        extreme_NxCxF = out_NxCxFxM.amax(3) * sign_C[:, None]
        return self.norm((extreme_NxCxF + self.conv.bias[:, None]).relu())


class _MiddleLayer(nn.Module):
    """Convolution over 7 frames, ReLU, batch normalisation."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__()
        self.conv = nn.Conv1d(channels_in, channels, 7, padding=3)
        self.norm = nn.BatchNorm1d(channels, eps=_NORM_EPS)

    def forward(self, x_NxCxF: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x_NxCxF).relu())
