"""Damage does what its strength says, and nothing else."""

import numpy as np
import pytest

from tokenizer_bridge.fad.damage import (
    FAMILIES,
    add_noise,
    low_pass,
    slow_down,
    slow_down_and_back,
)

RATE = 24_000


def tone(hertz, seconds=1.0):
    return np.sin(2 * np.pi * hertz * np.arange(round(RATE * seconds)) / RATE).astype(np.float32)


def rms(audio_T):
    return np.sqrt(np.square(audio_T).mean())


def peak_hertz(audio_T):
    spectrum = np.abs(np.fft.rfft(audio_T * np.hanning(len(audio_T))))
    return spectrum.argmax() * RATE / len(audio_T)


def test_low_pass():
    """An octave below the cut-off all is left, at it half the power, an octave above 2⁻⁸."""
    gains = [
        rms(low_pass(tone(hertz), RATE, 1500)) / rms(tone(hertz)) for hertz in (750, 1500, 3000)
    ]
    np.testing.assert_allclose(gains, [1, 0.5**0.5, 2**-8], rtol=1e-3)


def test_noise():
    noisy_T = add_noise(tone(440), RATE, 20)
    assert 20 * np.log10(rms(tone(440)) / rms(noisy_T - tone(440))) == pytest.approx(20, abs=0.1)
    assert rms(add_noise(np.zeros(RATE, np.float32), RATE, 0)) < 2e-5


def test_slow_down_keeps_pitch_and_length():
    """A click in the middle comes later; a tone stays what it was."""
    slow_T = slow_down(tone(440), RATE, 0.75)
    assert len(slow_T) == RATE
    assert peak_hertz(slow_T) == pytest.approx(440, abs=2)
    click_T = np.zeros(RATE, np.float32)
    click_T[RATE // 2] = 1
    assert np.abs(slow_down(click_T, RATE, 0.75)).argmax() == pytest.approx(RATE / 1.5, abs=1500)


@pytest.mark.parametrize("rate", [0.9, 0.75, 0.5])
def test_there_and_back_everything_is_where_it_was_but_smeared(rate):
    back_T = slow_down_and_back(tone(440, 1.01), RATE, rate)
    assert back_T.shape == tone(440, 1.01).shape and back_T.dtype == np.float32
    assert peak_hertz(back_T) == pytest.approx(440, abs=2)
    click_T = np.zeros(RATE, np.float32)
    click_T[RATE // 2] = 1
    back_T = slow_down_and_back(click_T, RATE, rate)
    assert np.abs(back_T).argmax() == pytest.approx(RATE / 2, abs=1500)
    assert np.abs(back_T - click_T).max() > 0.1


def test_labels_have_units():
    labels = [family.label.format(family.strengths[0]) for family in FAMILIES.values()]
    assert labels[:2] == ["low-pass at 6,000 Hz", "noise 30 dB below"]
    assert labels[2:] == ["at 0.9 of the tempo", "to 0.9 of the tempo and back"]


@pytest.mark.parametrize("family", FAMILIES)
def test_strengths_go_from_little_to_much(family):
    """Every step takes noise-like music further from the original; one of tempo further from 1,
    as stretched samples lie nowhere near those that they were."""
    damage, strengths = FAMILIES[family].damage, FAMILIES[family].strengths
    rng = np.random.default_rng(0)
    music_T = (np.repeat(rng.random(20), RATE // 10) * rng.standard_normal(2 * RATE)).astype("f4")
    changes = [np.square(damage(music_T, RATE, s) - music_T).mean() for s in strengths]
    if family.startswith("tempo"):
        assert all(a > b for a, b in zip((1.0, *strengths), strengths, strict=False))
    else:
        assert changes == sorted(changes)
    assert min(changes) > 0
