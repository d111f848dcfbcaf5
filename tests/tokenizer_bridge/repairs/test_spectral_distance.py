import numpy as np
import pytest

from tokenizer_bridge.repairs.spectral_distance import log_spectral_distance

RNG = np.random.default_rng(0)
NOISE = RNG.standard_normal(24_000)
GAP = (10_000, 14_000)


def test_a_signal_is_at_no_distance_of_itself_and_half_of_it_at_6_db():
    assert log_spectral_distance(NOISE, NOISE, *GAP) == 0
    assert log_spectral_distance(NOISE, NOISE / 2, *GAP) == pytest.approx(20 * np.log10(2))


def test_two_draws_of_white_noise_are_as_far_apart_as_two_exponentials():
    """The powers are exponential, and the logs of two such differ by pi / sqrt(3) nats, rms."""
    other = RNG.standard_normal(24_000)
    expected = 10 / np.log(10) * np.pi / np.sqrt(3)
    whole = (0, 24_000)
    assert log_spectral_distance(NOISE, other, *whole) == pytest.approx(expected, rel=0.02)


def test_only_frames_that_touch_the_gap_count():
    other = NOISE.copy()
    other[:5_000] = 0
    other[20_000:] = 0
    assert log_spectral_distance(NOISE, other, *GAP) == 0
    other[13_999] += 1
    assert log_spectral_distance(NOISE, other, *GAP) > 0


def test_silence_is_as_far_as_the_floor():
    distance = log_spectral_distance(NOISE, np.zeros_like(NOISE), *GAP)
    assert 60 < distance < 80


def test_signals_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="one length"):
        log_spectral_distance(NOISE, NOISE[1:], *GAP)
    with pytest.raises(ValueError, match="one length"):
        log_spectral_distance(NOISE[:100], NOISE[:100], 0, 50)
