"""Music and a network small enough to know what it hears, for reports of them."""

import numpy as np
import soundfile
import torch

from tokenizer_bridge.fad.embeddings import Embedding, EmbeddingInfo

RATE = 8_000
FILES = 36  # halves of it have the least number of files that a distance needs


class Bands(torch.nn.Module):
    """Log energies of 3 bands in windows of 0.1 s: (B, T) → (B, W, 3)."""

    min_samples = RATE // 10

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, audio_BxT: torch.Tensor) -> torch.Tensor:
        windows_BxWxS = audio_BxT.unfold(1, self.min_samples, self.min_samples)
        power = torch.fft.rfft(windows_BxWxS).abs().square()[..., 1:]
        return torch.stack([band.sum(-1) for band in power.chunk(3, -1)], -1).add(1e-6).log()


def bands(name: str = "bands", weights: str = "published") -> Embedding:
    info = EmbeddingInfo(name, "ab" * 32, 3, RATE, 0.1, 0.1, weights)
    return Embedding(info, Bands())


def write_music(
    folder, count: int, low_pass: int = 1, seed: int = 0, seconds: float = 1.2, gain=1.0
):
    """Coloured noise, of four artists."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        noise = rng.normal(0, rng.uniform(0.05, 0.2), round(seconds * RATE) + low_pass)
        smooth = np.convolve(noise, np.full(low_pass, 1 / low_pass), "valid")
        path = folder / f"artist{i % 4}" / f"{i:02d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, gain * smooth, RATE, subtype="FLOAT")
