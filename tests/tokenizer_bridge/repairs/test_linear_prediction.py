import numpy as np
import pytest

from tokenizer_bridge.repairs.linear_prediction import extrapolate, fill_gap

RATE = 24_000
TIME = np.arange(2 * RATE) / RATE
CHORD = (0.3 * sum(np.sin(2 * np.pi * f * TIME + f) for f in (220, 277.2, 329.6))).astype(
    np.float32
)
GAP = (RATE, RATE + RATE // 20)  # 50 ms


def test_a_chord_goes_on_through_a_gap():
    begin, end = GAP
    filled = fill_gap(np.where((np.arange(len(CHORD)) >= begin) & (np.arange(len(CHORD)) < end),
                               0, CHORD), begin, end, RATE)  # fmt: skip
    error = filled[begin:end] - CHORD[begin:end]
    assert np.sqrt(np.mean(error**2)) < 0.15 * np.sqrt(np.mean(CHORD**2))
    outside = np.r_[0:begin, end : len(CHORD)]
    np.testing.assert_array_equal(filled[outside], CHORD[outside])
    assert filled.dtype == np.float32


def test_what_was_in_the_gap_does_not_matter():
    begin, end = GAP
    other = CHORD.copy()
    other[begin:end] = 5
    np.testing.assert_array_equal(
        fill_gap(other, begin, end, RATE), fill_gap(CHORD, begin, end, RATE)
    )


@pytest.mark.parametrize("gap", [(0, 1_000), (len(CHORD) - 1_000, len(CHORD))])
def test_a_gap_at_an_end_is_predicted_from_the_other_side(gap):
    filled = fill_gap(CHORD, *gap, RATE)
    error = filled[slice(*gap)] - CHORD[slice(*gap)]
    assert np.sqrt(np.mean(error**2)) < 0.3 * np.sqrt(np.mean(CHORD**2))


def test_a_prediction_never_grows_and_silence_is_continued_by_silence():
    noise = np.random.default_rng(0).standard_normal(3_000)
    far = extrapolate(noise * np.linspace(0, 1, 3_000), 50_000)
    assert np.abs(far[-1_000:]).max() < np.abs(noise).max()
    assert not extrapolate(np.zeros(500), 10).any() and not extrapolate(np.ones(2), 10).any()


@pytest.mark.parametrize("gap", [(5, 5), (-1, 3), (0, len(CHORD)), (3, len(CHORD) + 1)])
def test_impossible_gaps_are_refused(gap):
    with pytest.raises(ValueError, match="a gap from"):
        fill_gap(CHORD, *gap, RATE)
