"""Long tracks in overlapping windows, and batches of them."""

import math

import numpy as np
import pytest

from tests.tokenizer_bridge.toy_songs import HOP
from tokenizer_bridge.audio.windows import Windowing, batches_of_equal_length, cut_audio, join_codes
from tokenizer_bridge.token_dataset.errors import UserError


@pytest.mark.parametrize("overlap", [0, 3, 10])
def test_windows_cover_a_track_once(overlap):
    windowing = Windowing(20, overlap)
    for num_samples in [*range(1, 30), *range(155, 165), 300, 301, 399, 400, 1000, 1603]:
        signal = np.arange(1, num_samples + 1, dtype=np.float32)
        blocks = np.array_split(signal, 1 + num_samples % 7)
        windows = list(cut_audio(blocks, windowing, HOP))
        total = math.ceil(num_samples / HOP)
        assert [start for start, _, _ in windows] == windowing.starts(total)
        assert [is_last for _, _, is_last in windows] == [False] * (len(windows) - 1) + [True]
        for start, audio, _ in windows:
            assert len(audio) == (num_samples if total <= 20 else 20 * HOP)
            present = np.trim_zeros(audio, "b")
            np.testing.assert_array_equal(present, signal[start * HOP :][: len(present)])
        # Codes that say where they are must come out in order, none missing, none double.
        pieces = [(at, np.arange(at, at + math.ceil(len(audio) / HOP))) for at, audio, _ in windows]
        np.testing.assert_array_equal(join_codes(pieces[::-1], overlap), np.arange(total))


def test_joined_codes_have_context_on_both_sides():
    windowing = Windowing(20, 6)
    pieces = [
        (start, np.minimum(np.arange(20), np.arange(20)[::-1]))  # distance to the nearer end
        for start in windowing.starts(95)
    ]
    distances = join_codes(pieces, windowing.overlap)
    assert len(distances) == 95
    assert distances[3:-3].min() >= 2  # 3 codes on the left side; 6 − 3 − 1 on the right


def test_windows_in_seconds():
    assert Windowing.from_seconds(30, 4, 75) == Windowing(2250, 300)
    for window_s, overlap_s in ((0, 0), (1, -1), (1, 0.6), (-1, 0)):
        with pytest.raises(UserError, match="^windows of "):
            Windowing.from_seconds(window_s, overlap_s, 75)


def test_batches_of_equal_length():
    items = [3, 5, 3, 3, 7, 5, 3, 3, 9, 11, 13, 15, 3]
    batches = list(batches_of_equal_length(items, lambda item: item, 2))
    assert sorted(sum(batches, [])) == sorted(items)
    assert all(len(set(batch)) == 1 and len(batch) <= 2 for batch in batches)
    assert sum(len(batch) == 2 for batch in batches) == 4

    held, most_held = 0, 0

    def counted():
        nonlocal held, most_held
        for item in range(100):  # all different
            held += 1
            most_held = max(most_held, held)
            yield item

    for batch in batches_of_equal_length(counted(), lambda item: item, 3):
        held -= len(batch)
    assert held == 0 and most_held == 13
