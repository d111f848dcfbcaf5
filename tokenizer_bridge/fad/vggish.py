"""VGGish (Hershey et al., arXiv:1609.09430) as its PyTorch port computes it.

B clips, T samples, F frames, M mels, W windows.

Front end: 16 kHz; frames of 25 ms (400 samples) every 10 ms (160), none of them padded at the ends;
periodic Hann window; 512-point transform; magnitudes; 64 HTK mels of height 1, 125 to 7,500 Hz;
ln(x + 0.01). A clip is cut into windows of 96 frames without overlap; what is left at the end is
not used. (Google's own program of later years takes overlapping windows and scales to the peak.)

`Vggish` is what Fréchet audio distances are commonly computed on: 128 values before the last ReLU.
`VggishPca` does all that the port does by default: the last ReLU, projection onto the principal
components with whitening, clamping to ±2, and rounding to the integers 0 … 255.
"""

import torch
from torch import nn

from tokenizer_bridge.fad.spectrum import MelSpectrum, htk_mel

_FRAME, _HOP, _N_FFT, _NUM_MELS = 400, 160, 512, 64
_LOW_HZ, _HIGH_HZ = 125, 7_500
_LOG_OFFSET = 0.01
_WINDOW_FRAMES = 96
_CLAMP = 2.0


class Vggish(nn.Module):
    """Audio to 128 values a window; names of weights are the port's."""

    SAMPLE_RATE = 16_000
    DIM = 128
    WINDOW_S = _WINDOW_FRAMES * _HOP / SAMPLE_RATE
    WEIGHTS = {"vggish": ""}
    UNUSED_WEIGHTS = ()
    min_samples = (_WINDOW_FRAMES - 1) * _HOP + _FRAME

    def __init__(self):
        super().__init__()
        mel_SxM = htk_mel(self.SAMPLE_RATE, _N_FFT, _NUM_MELS, _LOW_HZ, _HIGH_HZ)
        self.mel = MelSpectrum(
            mel_SxM, n_fft=_N_FFT, hop=_HOP, power=1, centred=False, window_length=_FRAME
        )
        layers, channels_in = [], 1
        for channels in (64, "pool", 128, "pool", 256, 256, "pool", 512, 512, "pool"):
            if channels == "pool":
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU()]
                channels_in = channels
        self.features = nn.Sequential(*layers)
        self.embeddings = nn.Sequential(
            nn.Linear(512 * 6 * 4, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(),
            nn.Linear(4096, self.DIM),
        )  # fmt: skip

    def forward(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, W, 128) of (B, T) audio at 16 kHz."""
        windows_NxFxM = self.log_mel(audio_BxT)
        return self.of_log_mel(windows_NxFxM).unflatten(0, (len(audio_BxT), -1))

    def log_mel(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B·W, 96, 64): the network's input."""
        log_mel_BxFxM = torch.log(self.mel(audio_BxT) + _LOG_OFFSET)
        num_windows = log_mel_BxFxM.shape[1] // _WINDOW_FRAMES
        used = log_mel_BxFxM[:, : num_windows * _WINDOW_FRAMES]
        return used.reshape(-1, _WINDOW_FRAMES, _NUM_MELS)

    def of_log_mel(self, log_mel_NxFxM: torch.Tensor) -> torch.Tensor:
        """(N, 128) of N windows."""
        image_NxCxFxM = self.features(log_mel_NxFxM[:, None])
        return self.embeddings(image_NxCxFxM.permute(0, 2, 3, 1).flatten(1))  # channels innermost


class VggishPca(nn.Module):
    """`Vggish`, ReLU, and the port's post-processing: 128 integers 0 … 255 a window, as float32."""

    SAMPLE_RATE, DIM, WINDOW_S = Vggish.SAMPLE_RATE, Vggish.DIM, Vggish.WINDOW_S
    WEIGHTS = {"vggish": "vggish", "vggish-pca": "pca"}
    min_samples = Vggish.min_samples

    def __init__(self):
        super().__init__()
        self.vggish = Vggish()
        self.pca = _Pca()

    def forward(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        """(B, W, 128) of (B, T) audio at 16 kHz."""
        return self.pca(self.vggish(audio_BxT).relu())


class _Pca(nn.Module):
    """Projection, clamping, rounding; untrained it projects onto the values themselves."""

    UNUSED_WEIGHTS = ()

    def __init__(self):
        super().__init__()
        self.pca_eigen_vectors = nn.Parameter(torch.eye(Vggish.DIM))  # component, D
        self.pca_means = nn.Parameter(torch.zeros(Vggish.DIM))

    def forward(self, vectors_BxWxD: torch.Tensor) -> torch.Tensor:
        projected = (vectors_BxWxD - self.pca_means) @ self.pca_eigen_vectors.T
        return ((projected.clamp(-_CLAMP, _CLAMP) + _CLAMP) * (255 / (2 * _CLAMP))).round()
