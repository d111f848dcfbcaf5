"""What a codec keeps of music: distances between a recording and its reconstruction.

T samples, L frames. Every function takes mono float audio (T,) of equal length and sample rate.
"""

from functools import lru_cache

import torch
import torchaudio

SILENT = 1e-3  # frames under this RMS have no pitch or rhythm to compare


@lru_cache
def _mel(sample_rate: int) -> torchaudio.transforms.MelSpectrogram:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate, n_fft=1024, hop_length=256, n_mels=100, power=1
    )


def _log_mel(audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
    """Natural-log mel magnitudes (100, L): window 1,024, hop 256, floored at 1e-7."""
    return _mel(sample_rate)(audio).clamp_min(1e-7).log()


def log_mel_distance(real: torch.Tensor, decoded: torch.Tensor, sample_rate: int) -> float:
    """Mean absolute difference of natural-log mel magnitudes (100 bands); 0 is perfect.

    The measure that the published WavTokenizer validates with.
    """
    return (_log_mel(real, sample_rate) - _log_mel(decoded, sample_rate)).abs().mean().item()


def onset_correlation(real: torch.Tensor, decoded: torch.Tensor, sample_rate: int) -> float:
    """Pearson correlation over time of the onset strengths; 1 is perfect.

    Onset strength: rise of the log-mel spectrum from frame to frame, summed over bands
    (Böck & Widmer 2013, without their maximum filter).
    """

    def strength(audio: torch.Tensor) -> torch.Tensor:
        return _log_mel(audio, sample_rate).diff(dim=1).relu().sum(0)

    return _correlation(strength(real), strength(decoded)).item()


def chroma_correlation(real: torch.Tensor, decoded: torch.Tensor, sample_rate: int) -> float:
    """Mean over frames of the correlation between the two 12 pitch classes; 1 is perfect.

    Magnitudes of windows of 4,096 samples between 55 and 4,000 Hz, each bin given to the nearest
    semitone. Silent frames of the recording do not count.
    """
    a, b = _chroma(real, sample_rate), _chroma(decoded, sample_rate)  # (L, 12)
    frames = real.unfold(0, 4096, 1024)
    audible = frames.square().mean(1).sqrt() > SILENT
    audible = audible[: len(a)]
    if not audible.any():
        return float("nan")
    return _correlation(a[: len(audible)][audible], b[: len(audible)][audible]).mean().item()


def comb_level(audio: torch.Tensor, sample_rate: int, rate: float) -> float:
    """Level of the multiples of `rate` (Hz) over their surroundings, in dB.

    Long-term power spectrum (windows of 16,384) at the multiples of the code rate up to 4 kHz,
    against the points halfway between. A codec that buzzes at its code rate raises it.
    """
    n_fft = 16_384
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(audio, n_fft, n_fft // 4, window=window, return_complex=True)
    power = spectrum.abs().square().mean(1)  # (bins,)

    def level(offset: float) -> torch.Tensor:
        at = torch.arange(2, int(4000 / rate)) * rate + offset
        return (power[(at / sample_rate * n_fft).round().long()] + 1e-12).log10().mean()

    return (10 * (level(0.0) - level(rate / 2))).item()


def perplexity_and_use(codes: torch.Tensor, codebook_size: int) -> tuple[float, float]:
    """exp of the codes' unigram entropy, and the share of the codebook seen at all."""
    counts = torch.bincount(codes.flatten(), minlength=codebook_size).double()
    share = counts[counts > 0] / counts.sum()
    return torch.exp(-(share * share.log()).sum()).item(), len(share) / codebook_size


def _chroma(audio: torch.Tensor, sample_rate: int) -> torch.Tensor:
    n_fft = 4096
    spectrum = torch.stft(
        audio, n_fft, 1024, window=torch.hann_window(n_fft), center=False, return_complex=True
    ).abs()  # (bins, L)
    hertz = torch.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
    kept = (hertz >= 55) & (hertz <= 4000)
    semitone = (12 * torch.log2(hertz[kept] / 440)).round().long() % 12
    classes = torch.zeros(12, spectrum.shape[1]).index_add_(0, semitone, spectrum[kept])
    return classes.T


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Pearson correlation over the last axis; 0 where one side is constant."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp_min(1e-9)
