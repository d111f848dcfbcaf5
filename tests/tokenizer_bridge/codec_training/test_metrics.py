"""The codec measures have their ceiling at the recording itself and fall with known damage."""

import numpy as np
import pytest
import torch

from tokenizer_bridge.codec_training import metrics

RATE = 24_000


def noise(seconds: float, level: float = 0.1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return level * torch.randn(round(seconds * RATE), generator=generator)


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
    audio = noise(2.0)
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


@pytest.mark.parametrize("cents, chroma, tuned", [(5, 0.9, 1), (30, 0.3, 0), (100, -0.1, 0)])
def test_what_is_out_of_tune_is_seen(cents, chroma, tuned):
    notes = (110.0, 220.0, 330.0)
    detuned = chord(*(f * 2 ** (cents / 1200) for f in notes))
    assert metrics.chroma_correlation(chord(*notes), detuned, RATE) == pytest.approx(
        chroma, abs=0.1
    )
    assert metrics.tuned_share(chord(*notes), detuned, RATE) == pytest.approx(tuned, abs=0.05)


def test_low_notes_are_told_apart():
    low, next_to_it, octave = chord(82.41), chord(87.31), chord(164.81)
    assert metrics.chroma_correlation(low, next_to_it, RATE) < 0.1
    assert metrics.chroma_correlation(low, octave, RATE) > 0.95
    assert metrics.tuned_share(low, octave, RATE) < 0.1
    detuned = chord(82.41 * 2 ** (30 / 1200))  # by half a bin
    assert metrics.tuned_share(low, detuned, RATE) < 0.1
    assert metrics.chroma_correlation(low, detuned, RATE) < 0.5


def test_tuned_share_is_of_the_energy():
    right, wrong = chord(440.0), chord(523.25)
    mixed = right + 0.5 * wrong
    assert metrics.tuned_share(right, mixed, RATE) == pytest.approx(0.8, abs=0.02)
    assert np.isnan(metrics.tuned_share(torch.zeros(RATE), mixed[:RATE], RATE))


def test_what_cannot_be_heard_costs_nothing():
    music = chord(220.0, 330.0, seconds=4.0) * (0.1 + clicks(0.25).abs())
    heard = music + noise(4.0, level=10 ** (-90 / 20))
    assert metrics.onset_correlation(music, heard, RATE) > 0.999
    assert metrics.log_mel_distance(music, heard, RATE) < 0.005
    assert metrics.chroma_correlation(music, heard, RATE) > 0.999


def test_level_difference_is_in_decibels():
    assert metrics.level_difference(chord(220.0), chord(220.0) / 2) == pytest.approx(
        -6.02, abs=0.01
    )


@pytest.mark.parametrize("depth, excess_db", [(0.0, 0), (0.1, 9.5), (0.3, 18.5)])
@pytest.mark.parametrize("rate", [75.0, 40.0])
def test_modulation_at_the_code_rate_is_seen(depth, excess_db, rate):
    tone = chord(440.0, seconds=4.0)
    time_s = torch.arange(len(tone)) / RATE
    buzzing = tone * (1 + depth * torch.sin(2 * torch.pi * rate * time_s))
    trembling = tone * (1 + depth * torch.sin(2 * torch.pi * (rate + 7) * time_s))
    assert metrics.modulation_excess(tone, buzzing, RATE, rate) == pytest.approx(excess_db, abs=1.5)
    assert metrics.modulation_excess(tone, trembling, RATE, rate) == pytest.approx(0, abs=0.5)


def test_modulation_of_every_rate_is_no_buzz():
    """Noise of a narrow band is modulated at random, the more the slower."""
    spectrum = torch.fft.rfft(noise(4.0))
    hertz = torch.arange(len(spectrum)) / 4.0
    band = torch.fft.irfft(torch.where((hertz - 475).abs() < 75, spectrum, 0.0))
    assert metrics.modulation_excess(chord(440.0, seconds=4.0), band, RATE, 75.0) < 2


def test_music_at_multiples_of_the_code_rate_is_no_buzz():
    music = chord(150.0, 225.0, 300.0, 600.0, seconds=4.0)
    assert metrics.modulation_excess(music, music, RATE, 75.0) <= 0
    assert metrics.comb_level(music, music, RATE, 75.0) == 0
    assert metrics.modulation_excess(chord(440.0, seconds=4.0), music, RATE, 75.0) > 20


def test_comb_level_sees_lines_at_the_code_rate_only():
    real = noise(4.0)
    buzz = sum(chord(75.0 * k, seconds=4.0) for k in range(2, 50)) * 0.05
    other = sum(chord(71.3 * k, seconds=4.0) for k in range(2, 50)) * 0.05
    assert metrics.comb_level(real, real + buzz, RATE, 75.0) > 6
    assert metrics.comb_level(real, real + other, RATE, 75.0) < 4
