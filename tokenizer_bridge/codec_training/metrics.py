"""Measures of what a codec keeps of music: comparisons of a recording with its reconstruction.

T samples, L frames. Every function takes mono float audio (T,) of equal length and sample rate.
What lies 60 dB under the recording's loudest component counts nowhere: it can't be heard.
"""

import math
from functools import lru_cache

import torch
import torchaudio

SILENT = 1e-3  # frames under this RMS have no pitch to compare
FLOOR = 1e-3  # −60 dB, of the recording's greatest magnitude

PEAK_WINDOW = 8192  # samples; a third of a second, 2.9 Hz bins
LOWEST_HZ, HIGHEST_HZ = 55.0, 5000.0  # of the partials that are looked at
PEAK_RANGE = 1e-4  # power of the weakest peak that counts, over the frame's strongest: −40 dB
TUNED_CENTS = 10.0
CHROMA_STEPS = 120  # of an octave, 10 cents each
CHROMA_WIDTH = 15.0  # cents, standard deviation: 30 cents off is another pitch

AUDIBLE_MODULATION = 0.03  # depth under which the ear hears no modulation of a tone
HIGHEST_MODULATION = 300.0  # Hz


@lru_cache
def _mel(sample_rate: int) -> torchaudio.transforms.MelSpectrogram:
    return torchaudio.transforms.MelSpectrogram(
        sample_rate, n_fft=1024, hop_length=256, n_mels=100, power=1
    )


def _log_mels(
    real: torch.Tensor, decoded: torch.Tensor, sample_rate: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Natural-log mel magnitudes (100, L) of both, window 1,024, hop 256, over a common floor."""
    mels = [_mel(sample_rate)(audio) for audio in (real, decoded)]
    floor = (FLOOR * mels[0].max()).clamp_min(1e-7)
    a, b = (mel.clamp_min(floor).log() for mel in mels)
    return a, b


def log_mel_distance(real: torch.Tensor, decoded: torch.Tensor, sample_rate: int) -> float:
    """Mean absolute difference of natural-log mel magnitudes (100 bands); 0 is perfect.

    As the published WavTokenizer validates, but with a floor relative to the recording.
    """
    a, b = _log_mels(real, decoded, sample_rate)
    return (a - b).abs().mean().item()


def level_difference(real: torch.Tensor, decoded: torch.Tensor) -> float:
    """The level of the decoded audio over the recording, in dB of its RMS."""
    a, b = (audio.square().mean().clamp_min(1e-12) for audio in (real, decoded))
    return 10 * (b / a).log10().item()


def onset_correlation(real: torch.Tensor, decoded: torch.Tensor, sample_rate: int) -> float:
    """Pearson correlation over time of the onset strengths; 1 is perfect.

    Onset strength: rise of the log-mel spectrum from frame to frame, summed over bands
    (Böck & Widmer 2013, without their maximum filter).
    """
    a, b = (mel.diff(dim=1).relu().sum(0) for mel in _log_mels(real, decoded, sample_rate))
    return _correlation(a, b).item()


def chroma_correlation(real: torch.Tensor, decoded: torch.Tensor, sample_rate: int) -> float:
    """Mean over frames of the correlation between the two distributions of pitch class; 1: equal.

    Amplitudes of spectral peaks between 55 and 5,000 Hz, whose frequencies are interpolated, on a
    circle of an octave in steps of 10 cents, blurred by 15: what is 30 cents off has 0.4, what is
    a semitone off about 0. Silent frames of the recording do not count.
    """
    a, b = (_chroma(_peaks(audio, sample_rate)) for audio in (real, decoded))  # (L, steps)
    audible = _audible_frames(real)
    if not audible.any():
        return float("nan")
    return _correlation(a[audible], b[audible]).mean().item()


def tuned_share(real: torch.Tensor, decoded: torch.Tensor, sample_rate: int) -> float:
    """Share of the decoded peaks' energy within 10 cents of a peak of the recording; 1 is perfect.

    Peaks between 55 and 5,000 Hz down to 40 dB under the frame's strongest. Silent frames of the
    recording do not count.
    """
    a, b = _peaks(real, sample_rate), _peaks(decoded, sample_rate)
    audible = _audible_frames(real)
    if not audible.any():
        return float("nan")
    in_tune = total = 0.0
    for frame in torch.nonzero(audible)[:, 0].tolist():
        known, found = a.cents[frame][a.power[frame] > 0], b.cents[frame]
        power = b.power[frame]
        total += power.sum().item()
        if len(known):
            near = (found[:, None] - known).abs().amin(1) <= TUNED_CENTS
            in_tune += power[near].sum().item()
    return in_tune / total if total else 0.0


def modulation_excess(
    real: torch.Tensor, decoded: torch.Tensor, sample_rate: int, rate: float
) -> float:
    """The modulation at the code rate over its surroundings, in dB; 0 is none.

    The power of the envelopes' modulation at the multiples of `rate` (Hz) below 300 Hz, over the
    median of what lies 2.5 to 12 Hz beside, less the same of the recording, whose own partials may
    beat at such a rate. A steady tone modulated by 3%, which the ear hardly notices, reads 2 dB; by
    10%, 9; by 30%, 18.
    """
    own = max(0.0, _modulation_level(real, sample_rate, rate))
    return _modulation_level(decoded, sample_rate, rate) - own


def comb_level(real: torch.Tensor, decoded: torch.Tensor, sample_rate: int, rate: float) -> float:
    """Level of the multiples of `rate` (Hz) over their surroundings, less the recording's, in dB.

    Long-term power spectrum (windows of 16,384) at the multiples of the code rate up to 4 kHz,
    against the points halfway between. A codec that can only sound such lines raises it.
    """
    return _line_level(decoded, sample_rate, rate) - _line_level(real, sample_rate, rate)


def _line_level(audio: torch.Tensor, sample_rate: int, rate: float) -> float:
    n_fft = 16_384
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(audio, n_fft, n_fft // 4, window=window, return_complex=True)
    power = spectrum.abs().square().mean(1)  # (bins,)

    def level(offset: float) -> torch.Tensor:
        at = torch.arange(2, int(4000 / rate)) * rate + offset
        return (power[(at / sample_rate * n_fft).round().long()] + 1e-12).log10().mean()

    return (10 * (level(0.0) - level(rate / 2))).item()


def _modulation_level(audio: torch.Tensor, sample_rate: int, rate: float) -> float:
    """10 log10 of one and what the multiples' powers exceed the medians beside them by."""
    size, hop = 256, 20
    frames_per_s = sample_rate / hop
    spectrum = torch.stft(
        audio, size, hop, window=torch.hann_window(size), center=False, return_complex=True
    )
    # Bands of four bins, 375 Hz: wide enough for both sidebands of the first multiples.
    power_BxL = spectrum.abs().square()[: size // 2].unflatten(0, (-1, 4)).sum(1)
    envelope_BxL = power_BxL.sqrt()
    segment = min(round(2 * frames_per_s), envelope_BxL.shape[1])
    pieces = envelope_BxL.unfold(1, segment, max(1, segment // 2))  # (bands, pieces, segment)
    mean = pieces.mean(-1, keepdim=True)
    weight = mean[..., 0].square()
    window = torch.hann_window(segment)
    depth = torch.fft.rfft((pieces - mean) * window).abs() * (2 / window.sum())
    relative = depth / mean.clamp_min(1e-9)  # the depth of a modulation at each frequency
    modulation = (relative.square() * weight[..., None]).sum((0, 1)) / weight.sum().clamp_min(1e-12)
    hertz = torch.arange(len(modulation)) * (frames_per_s / segment)
    floor = AUDIBLE_MODULATION**2
    excess = 0.0
    for multiple in range(1, math.ceil(HIGHEST_MODULATION / rate)):
        away = (hertz - multiple * rate).abs()
        beside = modulation[(away >= 2.5) & (away <= 12)].median()
        at = modulation[away <= max(0.5, 0.6 * hertz[1].item())].max()
        excess += ((at - beside).clamp_min(0) / (beside + floor)).item()
    return 10 * math.log10(1 + excess)


class _Peaks:
    """Local maxima of each frame's spectrum; where there is none, power is 0.

    cents: (L, F) over 55 Hz, interpolated. power: (L, F).
    """

    def __init__(self, cents: torch.Tensor, power: torch.Tensor):
        self.cents, self.power = cents, power


def _peaks(audio: torch.Tensor, sample_rate: int) -> _Peaks:
    window = torch.hann_window(PEAK_WINDOW)
    spectrum = torch.stft(
        audio, PEAK_WINDOW, PEAK_WINDOW // 4, window=window, center=False, return_complex=True
    )
    log_power = (spectrum.abs().square().T + 1e-12).log()  # (L, F)
    left, middle, right = log_power[:, :-2], log_power[:, 1:-1], log_power[:, 2:]
    # The vertex of the parabola through the three log powers (Smith & Serra 1987).
    curvature = (left - 2 * middle + right).clamp_max(-1e-9)
    offset = (0.5 * (left - right) / curvature).clamp(-0.5, 0.5)
    bins = torch.arange(1, log_power.shape[1] - 1) + offset
    hertz = bins * (sample_rate / PEAK_WINDOW)
    power = (middle - 0.25 * (left - right) * offset).exp()  # at the vertex
    is_peak = (middle > left) & (middle >= right) & (hertz >= LOWEST_HZ) & (hertz <= HIGHEST_HZ)
    power = torch.where(is_peak, power, 0.0)
    strongest = power.amax(1, keepdim=True)
    power = torch.where(power >= PEAK_RANGE * strongest, power, 0.0)
    return _Peaks(1200 * torch.log2(hertz.clamp_min(1.0) / LOWEST_HZ), power)


def _chroma(peaks: _Peaks) -> torch.Tensor:
    """Amplitude by pitch class, (L, CHROMA_STEPS)."""
    frame, column = torch.nonzero(peaks.power, as_tuple=True)
    step = (peaks.cents[frame, column] * (CHROMA_STEPS / 1200)).round().long() % CHROMA_STEPS
    chroma = torch.zeros(len(peaks.power), CHROMA_STEPS)
    chroma.index_put_((frame, step), peaks.power[frame, column].sqrt(), accumulate=True)
    away = torch.arange(CHROMA_STEPS)
    away = torch.minimum(away, CHROMA_STEPS - away) * (1200 / CHROMA_STEPS)
    blur = torch.exp(-0.5 * (away / CHROMA_WIDTH) ** 2)
    return torch.fft.irfft(torch.fft.rfft(chroma) * torch.fft.rfft(blur), CHROMA_STEPS)


def _audible_frames(audio: torch.Tensor) -> torch.Tensor:
    """The frames of `_peaks` that are not silent, bool (L,)."""
    frames = audio.unfold(0, PEAK_WINDOW, PEAK_WINDOW // 4)
    return frames.square().mean(1).sqrt() > SILENT


def _correlation(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Pearson correlation over the last axis; 0 where one side is constant."""
    a, b = a - a.mean(-1, keepdim=True), b - b.mean(-1, keepdim=True)
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1)).clamp_min(1e-9)
