"""The longest shared stretch, beside what comparing everything with everything finds."""

import numpy as np
import pytest

from tokenizer_bridge.notes import copies
from tokenizer_bridge.notes.copies import Shared, longest_shared


def by_brute_force(sequence, others):
    best = 0
    for other in others:
        table = np.zeros((len(sequence) + 1, len(other) + 1), int)
        for i, a in enumerate(sequence):
            for j, b in enumerate(other):
                table[i + 1, j + 1] = table[i, j] + 1 if a == b else 0
        best = max(best, int(table.max()))
    return best


@pytest.mark.parametrize("chunk", [1, 50, 10**6])
def test_as_long_as_brute_force_finds_and_where_it_says(chunk):
    rng = np.random.default_rng(0)
    others = [rng.integers(3, size=n).astype(np.uint16) for n in (40, 1, 0, 60, 33)]
    asked = [rng.integers(3, size=n) for n in (30, 12, 2)] + [others[3][10:45], np.zeros(0, int)]
    found = longest_shared(asked, iter(others), 3, chunk=chunk)
    assert [shared.length for shared in found] == [by_brute_force(a, others) for a in asked]
    assert found[3] == Shared(35, 0, 3, 10)
    for sequence, shared in zip(asked, found, strict=True):
        there = others[shared.other][shared.other_start :][: shared.length]
        np.testing.assert_array_equal(sequence[shared.start :][: shared.length], there)


def test_a_stretch_does_not_cross_the_end_of_a_sequence():
    others = [np.array([1, 2, 3]), np.array([4, 5, 6])]
    (found,) = longest_shared([np.array([2, 3, 4, 5])], others, 7)
    assert found.length == 2
    found = longest_shared([np.array([1, 2]), np.array([3, 4])], [np.array([1, 2, 3, 4])], 7)
    assert [shared.length for shared in found] == [2, 2]


def test_stretches_that_are_too_short_are_none():
    others = [np.array([1, 2, 3, 4, 5])]
    asked = [np.array([2, 3, 4, 9]), np.array([1, 2, 3, 4]), np.array([5])]
    found = longest_shared(asked, others, 10, at_least=4)
    assert found == [Shared(), Shared(4, 0, 0, 0), Shared()]


def test_a_copy_among_many_is_found():
    rng = np.random.default_rng(1)
    others = [rng.integers(1024, size=2**14).astype(np.uint16) for _ in range(8)]
    asked = [rng.integers(1024, size=1000).astype(np.uint16) for _ in range(8)]
    asked[5][300:700] = others[6][1000:1400]
    found = longest_shared(asked, others, 1024, chunk=2**16)
    assert found[5] == Shared(400, 300, 6, 1000)
    assert max(s.length for i, s in enumerate(found) if i != 5) < 5


def test_equal_hashes_of_what_differs_are_noticed(monkeypatch):
    monkeypatch.setattr(copies, "_ODD", np.uint64(1))  # a hash that is blind to order
    with pytest.raises(RuntimeError, match="same hash"):
        longest_shared([np.array([1, 2])], [np.array([2, 1])], 3)
