"""Loudness by BS.1770: the standard's figures, pyloudnorm's class "DeMan", and normalisation."""

import numpy as np
import pyloudnorm
import pytest
import scipy.signal

from tests.tokenizer_bridge.toy_songs import music
from tokenizer_bridge.audio.read import AudioError
from tokenizer_bridge.cleaning.loudness import LoudnessMeter, loudness, normalise_loudness


def sine(rate: int, *sections: tuple[float, float], hz: float = 997.0) -> np.ndarray:
    """(seconds, dB of full scale) each, (T,)."""
    level_T = np.concatenate([np.full(round(s * rate), 10 ** (db / 20)) for s, db in sections])
    return level_T * np.sin(2 * np.pi * hz / rate * np.arange(len(level_T)))


def test_the_reference_tone():
    """BS.1770-4, annex 1: 997 Hz at full scale in one channel reads −3.01."""
    assert loudness(sine(48000, (5, 0)), 48000) == pytest.approx(-3.01, abs=0.005)
    assert loudness(sine(24000, (5, -20)), 24000) == pytest.approx(-23.01, abs=0.05)
    # The low-frequency roll-off, and the shelf of +4 dB.
    assert loudness(sine(48000, (5, 0), hz=38), 48000) < -3.01 - 5
    assert loudness(sine(48000, (5, 0), hz=10000), 48000) == pytest.approx(-3.7 + 4, abs=0.1)


def response_db(stages, hz: np.ndarray, rate: int) -> np.ndarray:
    """Gain of filters (b, a) one after the other, at each frequency."""
    return sum(20 * np.log10(np.abs(scipy.signal.freqz(*s, hz, fs=rate)[1])) for s in stages)


def test_the_weighting_is_the_standards_and_not_pyloudnorms_default():
    """BS.1770-4, annex 1, tables 1 and 2: the filters at 48 kHz."""
    standard = [
        ((1.53512485958697, -2.69169618940638, 1.19839281085285),
         (1, -1.69065929318241, 0.73248077421585)),
        ((1, -2, 1), (1, -1.99004745483398, 0.99007225036621)),
    ]  # fmt: skip
    hz = np.geomspace(20, 20_000, 100)
    expected = response_db(standard, hz, 48_000)
    sections = LoudnessMeter(48_000)._sections
    ours = response_db([(s[:3], s[3:]) for s in sections], hz, 48_000)
    np.testing.assert_allclose(ours, expected, atol=1e-9)
    default = pyloudnorm.Meter(48_000)._filters.values()
    off = response_db([(stage.b, stage.a) for stage in default], hz, 48_000) - expected
    assert 0.04 < np.abs(off).max() < 0.05
    # At other rates the default is further off the reference tone, which reads -3.01.
    tone_T = sine(24_000, (5, 0))
    assert abs(loudness(tone_T, 24_000) + 3.01) < 0.03
    assert abs(pyloudnorm.Meter(24_000).integrated_loudness(tone_T) + 3.01) > 0.05


def test_the_gates():
    """EBU Tech 3341, test cases 3 and 4, in mono (3.01 LU lower than in stereo)."""
    case_3 = sine(48000, (10, -36), (60, -23), (10, -36))
    case_4 = sine(48000, (10, -72), (10, -36), (60, -23), (10, -36), (10, -72))
    assert loudness(case_3, 48000) == pytest.approx(-26.01, abs=0.1)
    assert loudness(case_4, 48000) == pytest.approx(-26.01, abs=0.1)


@pytest.mark.parametrize("rate", [16000, 22050, 24000, 44100])
def test_blocks_give_what_pyloudnorm_gives(rate):
    audio_T = music(8.0, 3)[: 4 * rate // 10 * 10].astype(float)
    audio_T[: 2 * rate] *= 0.02  # something for the gates
    expected = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(audio_T)
    for blocks in (1, 2, 13, 1000):
        meter = LoudnessMeter(rate)
        for block in np.array_split(audio_T, blocks):
            meter.push(block)
        assert meter.lufs() == pytest.approx(expected, abs=1e-6)
        assert meter.peak == np.abs(audio_T).max()


def test_the_target_is_met_by_one_gain():
    audio_T = music(3.0, 1)
    for target in (-40.0, -23.0):
        louder_T, level = normalise_loudness(audio_T, 24000, target)
        assert level.lufs == pytest.approx(loudness(audio_T, 24000))
        assert louder_T.dtype == np.float32
        assert loudness(louder_T, 24000) == pytest.approx(target, abs=0.01)
        np.testing.assert_allclose(louder_T / audio_T, louder_T[5] / audio_T[5], rtol=1e-5)


def test_peaks_end_at_full_scale():
    audio_T = music(3.0, 1)
    audio_T[1000] = 0.9
    loud_T, level = normalise_loudness(audio_T, 24000, -3.0)
    assert np.abs(loud_T).max() == pytest.approx(1.0, abs=1e-6)
    assert loudness(loud_T, 24000) < -3.5
    assert level.highest_lufs() == pytest.approx(loudness(loud_T, 24000), abs=1e-4)


def test_silence_stays_and_what_is_too_short_is_refused():
    for silence_T in (np.zeros(24000, np.float32), 1e-5 * music(1.0, 0)):
        same_T, level = normalise_loudness(silence_T, 24000, -20)
        np.testing.assert_array_equal(same_T, silence_T)
        assert level.is_silent
    assert np.isfinite(loudness(music(0.4, 0), 24000))
    for length in (0, 9599):
        with pytest.raises(AudioError, match="too short to have a loudness: .* s, 0.4 s needed"):
            normalise_loudness(music(0.4, 0)[:length], 24000, -20)


def test_rates_below_the_weightings_frequencies_are_refused():
    for rate in (1_000, 3_363):
        with pytest.raises(AudioError, match=f"^a sample rate of {rate} Hz: loudness needs 3364 H"):
            loudness(np.ones(rate), rate)
    tone_T = sine(3_400, (2, -20), hz=500)
    assert loudness(tone_T, 3_400) == pytest.approx(
        loudness(sine(48_000, (2, -20), hz=500), 48_000), abs=1
    )
