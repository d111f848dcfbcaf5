"""Spectral gating: where the noise is found, and that it goes while the music stays."""

import noisereduce
import numpy as np
import pytest

from tokenizer_bridge.cleaning import noise
from tokenizer_bridge.cleaning.levels import measure_levels

RATE = 24000


def chord(seconds: float) -> np.ndarray:
    time_T = np.arange(round(seconds * RATE)) / RATE
    tones = sum(np.sin(2 * np.pi * f * time_T) for f in (220, 277.2, 329.6))
    return (0.1 * tones).astype(np.float32)


def hiss(seconds: float, db: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    return (10 ** (db / 20) * rng.standard_normal(round(seconds * RATE))).astype(np.float32)


def level_db(audio_T) -> float:
    return 10 * np.log10(np.mean(np.square(audio_T, dtype=float)))


def quietest(audio_T):
    return noise.quietest_stretch(measure_levels([audio_T], RATE))


@pytest.fixture(scope="module")
def recording():
    """26 s, more than two blocks of the gate: a chord, a pause at 12 to 14 s, a chord; and hiss."""
    music_T = np.concatenate([chord(12), np.zeros(2 * RATE, np.float32), chord(12)])
    return music_T, hiss(26, -55)


def test_the_noise_is_found_in_the_pause(recording):
    music_T, hiss_T = recording
    start, db = quietest(music_T + hiss_T)
    assert 12 * RATE <= start <= 13.5 * RATE and db == pytest.approx(-55, abs=0.5)
    blocks = np.array_split(music_T + hiss_T, 11)
    profile_T = noise.read_profile(blocks, start, RATE)
    np.testing.assert_array_equal(profile_T, hiss_T[start : start + RATE // 2])


def test_what_is_no_noise_is_not_taken_for_it(recording):
    music_T, hiss_T = recording
    assert quietest(music_T[: 12 * RATE] + hiss_T[: 12 * RATE]) is None  # no pause
    assert quietest(music_T) is None  # a pause without noise
    assert quietest(music_T + 20 * hiss_T) is None  # not 30 dB below the music
    assert quietest(hiss(0.4, -60)) is None
    start, _ = quietest(np.concatenate([music_T, np.zeros(RATE, np.float32), hiss(1, -60)]))
    assert start >= 27 * RATE  # the noise, not the digital silence


def test_noise_goes_and_music_stays(recording):
    music_T, hiss_T = recording
    profile_T = hiss_T[12 * RATE : 12 * RATE + RATE // 2]
    for amount, lowered_db in ((1.0, (25, 100)), (0.5, (5.8, 6.2))):
        blocks = np.array_split(music_T + hiss_T, 9)
        clean_T = np.concatenate(list(noise.gate(blocks, profile_T, RATE, amount)))
        assert clean_T.dtype == np.float32 and len(clean_T) == len(music_T)
        pause, music = slice(int(12.6 * RATE), int(13.9 * RATE)), slice(RATE, 11 * RATE)
        least, most = lowered_db
        assert least < level_db(hiss_T[pause]) - level_db(clean_T[pause]) < most
        assert level_db((clean_T - music_T)[music]) < level_db(hiss_T[music])
        # Nothing at the joins of blocks that is not elsewhere.
        error_F = [level_db(part) for part in np.array_split((clean_T - music_T)[music], 100)]
        assert max(error_F) < level_db(hiss_T) + 3


@pytest.mark.parametrize("num_samples", [1, 255, 256, 1000, 262144, 264192, 264193, 600000])
def test_blocks_equal_the_whole(recording, num_samples):
    music_T, hiss_T = recording
    audio_T, profile_T = (music_T + hiss_T)[:num_samples], hiss_T[: RATE // 2]
    padded_T = np.concatenate([audio_T, np.zeros(4096 - num_samples % 256, np.float32)])
    whole_T = noisereduce.reduce_noise(
        padded_T, RATE, stationary=True, y_noise=profile_T, n_std_thresh_stationary=2.5,
        freq_mask_smooth_hz=None, time_mask_smooth_ms=None, chunk_size=None, padding=0,
    )[:num_samples]  # fmt: skip
    blocks = np.array_split(audio_T, 3)
    clean_T = np.concatenate(list(noise.gate(blocks, profile_T, RATE, 1.0)))
    np.testing.assert_allclose(clean_T, whole_T, atol=1e-6)
