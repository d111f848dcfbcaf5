"""Activity by energy: what is kept, and that its joins are smooth."""

import numpy as np
import pytest

from tokenizer_bridge.cleaning.activity import active_stretches, keep, kept_samples
from tokenizer_bridge.cleaning.bounds import Activity
from tokenizer_bridge.cleaning.levels import measure_levels
from tokenizer_bridge.token_dataset.errors import UserError

RATE = 24000
SIGNS = np.random.default_rng(0).choice([-1.0, 1.0], 60 * RATE)


def signal(*sections: tuple[float, float]) -> np.ndarray:
    """(seconds, dB) each, (T,): noise of random signs, whose every sample has the level."""
    levels = [np.full(round(s * RATE), 10 ** (db / 20)) for s, db in sections]
    level_T = np.concatenate(levels)
    return (level_T * SIGNS[: len(level_T)]).astype(np.float32)


def stretches_s(audio_T: np.ndarray, blocks: int = 7, **options) -> list[tuple[float, float]]:
    levels = measure_levels(np.array_split(audio_T, blocks), RATE)
    found = active_stretches(levels, RATE, Activity(**options))
    return [(start / RATE, stop / RATE) for start, stop in found]


def test_long_silence_goes_and_padding_stays():
    audio_T = signal((2.5, -90), (3, -20), (4, -85), (1, -20), (3, -85))
    expected = [(2.3, 5.7), (9.3, 10.7)]
    np.testing.assert_allclose(stretches_s(audio_T), expected, atol=1e-6)
    np.testing.assert_allclose(stretches_s(audio_T, padding_s=0.5), [(2, 6), (9, 11)], atol=1e-6)


def test_rests_stay_and_clicks_go():
    rest, click = signal((3, -20), (1.9, -90), (3, -20)), signal((3, -20), (5, -90), (0.2, -20))
    assert stretches_s(rest) == [(0, 7.9)]
    assert len(stretches_s(rest, min_silent_s=1.8)) == 2
    assert stretches_s(np.concatenate([click, signal((3, -90))])) == [(0, 3.2)]
    assert len(stretches_s(click, min_active_s=0.1)) == 2
    # A click within a rest's reach of music belongs to it.
    assert stretches_s(signal((3, -20), (1, -90), (0.1, -20), (3, -90))) == [(0, 4.3)]


def test_hysteresis_keeps_fades_and_drops_noise_between_the_thresholds():
    audio_T = signal((3, -75), (3, -20), (2, -75), (3, -90), (4, -75), (3, -90))
    np.testing.assert_allclose(stretches_s(audio_T), [(0, 8.2)], atol=1e-6)
    assert len(stretches_s(audio_T, on_db=-57)) == 2
    assert stretches_s(audio_T, off_db=-52)[0] == (2.8, 6.2)


def test_thresholds_follow_the_level_of_the_track():
    audio_T = signal((4, -5), (3, -66), (4, -5))
    assert len(stretches_s(audio_T)) == 2
    assert stretches_s(signal((4, -30), (3, -66), (4, -30))) == [(0, 11)]
    # A little music in a long silence has the level of the music.
    assert stretches_s(signal((40, -90), (1.5, -10), (4, -90), (3, -75))) == [(39.8, 41.7)]
    # One loud moment is not the level of the track.
    audio_T = signal((4, -55), (3, -90), (4, -55), (0.1, 0))
    np.testing.assert_allclose(stretches_s(audio_T), [(0, 4.2), (6.8, 11.1)], atol=1e-6)


def test_dither_is_never_music():
    assert stretches_s(signal((4, -62), (4, -90), (4, -62))) == [(0, 4.2), (7.8, 12)]
    assert stretches_s(signal((4, -90))) == []


def joined(audio_T, stretches, blocks=5) -> np.ndarray:
    pieces = keep(np.array_split(audio_T, blocks), stretches, len(audio_T), RATE)
    return np.concatenate(list(pieces))


def test_a_track_kept_whole_is_unchanged():
    audio_T = signal((1, -20))
    np.testing.assert_array_equal(joined(audio_T, [(0, RATE)]), audio_T)


def test_joins_do_not_depend_on_blocks_and_do_not_click():
    time_T = np.arange(RATE) / RATE
    audio_T = np.sin(2 * np.pi * 100 * time_T).astype(np.float32)
    # Cut at opposite phases: without a fade, a step of nearly 2.
    stretches = [(60, 6060), (12180, 12660), (18060, 23000)]
    whole = joined(audio_T, stretches, blocks=1)
    assert len(whole) == kept_samples(stretches, RATE) == 6000 + 480 + 4940 - 2 * 240
    for blocks in (2, 3, 17, 499, 24000):
        np.testing.assert_array_equal(joined(audio_T, stretches, blocks), whole)
    steepest = np.abs(np.diff(audio_T)).max() + np.pi / 2 / 240
    assert np.abs(np.diff(np.concatenate([[0], whole, [0]]))).max() < steepest
    np.testing.assert_array_equal(whole[240 : 6000 - 240], audio_T[300 : 6060 - 240])
    np.testing.assert_array_equal(whole[-4940 + 240 : -240], audio_T[18300:22760])


@pytest.mark.parametrize(("options", "flag"), [
    ({"on_db": -60, "off_db": -50}, "music begins above -60 dB and ends below -50 dB"),
    ({"on_db": 0}, "music begins above 0 dB"),
    ({"padding_s": 0}, "a padding of 0 s"),
    ({"min_active_s": -1}, "music of at least -1 s"),
    ({"min_silent_s": 0.4}, "silence of at least 0.4 s: must be longer than the padding"),
])  # fmt: skip
def test_options_that_make_no_sense(options, flag):
    with pytest.raises(UserError, match=flag):
        Activity(**options)
