"""The codec measures have their ceiling at the recording itself and fall with known damage."""

import numpy as np
import pytest
import torch

from tokenizer_bridge.codec_training import metrics

RATE = 24_000


def chord(*hertz: float, seconds: float = 2.0) -> torch.Tensor:
    time_s = torch.arange(round(seconds * RATE)) / RATE
    return 0.2 * sum(torch.sin(2 * torch.pi * f * time_s) for f in hertz)


def clicks(period_s: float, offset_s: float = 0.0, seconds: float = 4.0) -> torch.Tensor:
    audio = torch.zeros(round(seconds * RATE))
    for start in np.arange(offset_s, seconds - 0.05, period_s):
        i = round(start * RATE)
        audio[i : i + 480] = torch.linspace(1, 0, 480) * torch.sin(torch.arange(480) * 0.3)
    return audio


def test_a_recording_against_itself_is_the_ceiling():
    audio = chord(220, 330) * clicks(0.25)[: 2 * RATE].abs().add(0.1)
    assert metrics.log_mel_distance(audio, audio, RATE) == 0
    assert metrics.chroma_correlation(audio, audio, RATE) == pytest.approx(1, abs=1e-4)
    assert metrics.onset_correlation(audio, audio, RATE) == pytest.approx(1, abs=1e-4)


def test_log_mel_distance_of_a_gain_is_its_logarithm():
    audio = chord(*(55.0 * 1.1**i for i in range(50)))
    assert metrics.log_mel_distance(audio, audio / 2, RATE) == pytest.approx(np.log(2), abs=1e-3)


def test_chroma_knows_octaves_from_semitones():
    a, octave, semitone = chord(220.0), chord(440.0), chord(220.0 * 2 ** (1 / 12))
    assert metrics.chroma_correlation(a, octave, RATE) > 0.95
    assert metrics.chroma_correlation(a, semitone, RATE) < 0.5


def test_silence_has_no_chroma():
    silence = torch.zeros(RATE)
    assert np.isnan(metrics.chroma_correlation(silence, chord(220.0, seconds=1.0), RATE))


def test_onsets_must_be_in_time():
    real = clicks(0.5)
    assert metrics.onset_correlation(real, clicks(0.5, offset_s=0.002), RATE) > 0.8
    assert metrics.onset_correlation(real, clicks(0.5, offset_s=0.25), RATE) < 0.2


def test_comb_level_sees_a_buzz_at_the_code_rate_only():
    noise = 0.1 * torch.randn(4 * RATE, generator=torch.Generator().manual_seed(0))
    buzz = sum(chord(75.0 * k, seconds=4.0) for k in range(2, 50)) * 0.05
    other = sum(chord(71.3 * k, seconds=4.0) for k in range(2, 50)) * 0.05
    assert abs(metrics.comb_level(noise, RATE, 75.0)) < 1.5
    assert metrics.comb_level(noise + buzz, RATE, 75.0) > 6
    assert metrics.comb_level(noise + other, RATE, 75.0) < 4


def test_perplexity_and_use_of_known_counts():
    codes = torch.tensor([[0, 0, 1, 1], [2, 2, 3, 3]])
    assert metrics.perplexity_and_use(codes, 16) == pytest.approx((4.0, 0.25))
    assert metrics.perplexity_and_use(torch.zeros(1, 8, dtype=torch.long), 16) == (1.0, 1 / 16)
