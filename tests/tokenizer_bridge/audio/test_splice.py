import numpy as np
import pytest

from tokenizer_bridge.audio.splice import Patch, cross_fade, merged, splice

FADE = 100


def noise(length: int, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(length).astype(np.float32)


def stereo(length: int) -> np.ndarray:
    return np.stack([noise(length, 1), 0.5 * noise(length, 2)])


def test_all_outside_the_fades_is_the_recording_to_the_bit():
    original = stereo(3000)
    patches = [Patch(noise(900, 3), 500, 800, 1100), Patch(noise(700, 4), 1900, 2200, 2300)]
    spliced = splice(original, patches, FADE)
    changed = np.zeros(3000, bool)
    changed[700:1200] = changed[2100:2400] = True
    np.testing.assert_array_equal(spliced[:, ~changed], original[:, ~changed])
    assert (spliced[:, changed] != original[:, changed]).mean() > 0.99


def test_inside_stands_the_patch_at_the_level_of_each_channel():
    original = stereo(3000)
    patch = Patch(1.5 * noise(1500, 3), 500, 1000, 1500)
    spliced = splice(original, [patch], FADE)
    for channel, level in zip(spliced, (1, 0.5), strict=True):
        gain = channel[1200] / patch.part(1200, 1201)
        np.testing.assert_allclose(channel[1000:1500], gain * patch.part(1000, 1500), rtol=1e-5)
        assert gain == pytest.approx(level / 1.5, rel=0.1)


@pytest.mark.parametrize("alike", [0.0, 0.5, 1.0])
def test_a_fade_keeps_the_power(alike):
    one, other = noise(40_000, 1), noise(40_000, 2)
    second = alike * one + np.sqrt(1 - alike**2) * other
    parts = np.square(cross_fade(one, second)).reshape(8, -1).mean(axis=1)
    np.testing.assert_allclose(parts, 0.01, rtol=0.06)


def test_fades_begin_and_end_where_what_is_beside_them_does():
    original = np.full((1, 3000), 0.1, np.float32)
    patch = Patch(np.full(1500, -0.1, np.float32), 500, 1000, 1500)
    spliced = splice(original, [patch], FADE)[0]
    assert (spliced[1000:1500] < 0).all() and (spliced[:900] > 0).all()
    # Opposite signals fade through nothing, without a step.
    assert np.abs(np.diff(spliced)).max() < 0.02


def test_a_continuation_makes_the_recording_longer():
    original = stereo(1000)
    spliced = splice(original, [Patch(noise(1300, 3), 400, 1020, 1700)], FADE)
    assert spliced.shape == (2, 1700)
    np.testing.assert_array_equal(spliced[:, :900], original[:, :900])
    assert (spliced[:, 1000:] != 0).all()


def test_a_stretch_at_the_start_has_no_fade_before_it():
    original = stereo(1000)
    spliced = splice(original, [Patch(noise(700, 3), 0, 0, 300)], FADE)
    assert (spliced[:, :300] != original[:, :300]).all()
    np.testing.assert_array_equal(spliced[:, 400:], original[:, 400:])


def test_silence_beside_a_stretch_says_nothing_of_its_level():
    patch = Patch(noise(1500, 3), 500, 1000, 1500)
    spliced = splice(np.zeros((1, 3000), np.float32), [patch], FADE)
    np.testing.assert_array_equal(spliced[0, 1000:1500], patch.part(1000, 1500))


def test_stretches_that_are_near_become_one():
    assert merged([(0, 10), (15, 20), (40, 50)], 6) == [(0, 20), (40, 50)]
    assert merged([(0, 10), (16, 20)], 6) == [(0, 10), (16, 20)]
