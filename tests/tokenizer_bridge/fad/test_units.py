"""What is drawn: artists whole, as many files as were asked for, and what files are worth."""

import numpy as np
import pytest
from scipy import stats

from tokenizer_bridge.fad.units import (
    alone,
    by_artist,
    effective_files,
    equal_units,
    files_of,
    halves,
    student,
    subsets,
)


def numbered(sizes):
    """Units of so many files, each file one vector: its number."""
    starts = np.cumsum(sizes) - sizes
    return [
        [np.array([[float(first + i)]]) for i in range(n)]
        for first, n in zip(starts, sizes, strict=True)
    ]


def drawn(vectors):
    return [set(one.ravel().astype(int)) for one in vectors]


def test_files_are_put_together_by_artist_and_unknown_ones_are_alone():
    units = by_artist(np.arange(6.0).reshape(6, 1, 1), ["b", None, "a", "b", None, "a"])
    assert [[int(file[0, 0]) for file in unit] for unit in units] == [[0, 3], [1], [2, 5], [4]]
    assert [int(file[0, 0]) for file in files_of(units)] == [0, 3, 1, 2, 5, 4]


def test_subsets_are_disjoint_until_all_files_were_used():
    found = drawn(subsets(numbered([1] * 10), 3, 6, np.random.default_rng(0)))
    assert all(len(one) == 3 for one in found)
    assert len(set.union(*found[:3])) == 9
    assert len(set.union(*found[3:])) == 9


def test_subsets_hold_artists_whole_but_at_their_ends():
    """30 artists of 4 files: 10 files are two artists and a half of one more."""
    found = drawn(subsets(numbered([4] * 30), 10, 24, np.random.default_rng(0)))
    in_part = set()
    for one in found:
        by_artist = [one & set(range(first, first + 4)) for first in range(0, 120, 4)]
        assert sorted(len(files) for files in by_artist if files) == [2, 4, 4]
        in_part |= {tuple(i % 4 for i in sorted(files)) for files in by_artist if len(files) == 2}
    assert len(set.union(*found[:12])) == 120
    assert len(in_part) == 6  # which of an artist's files, chance decides


def test_halves_hold_whole_artists_and_every_second_is_the_rest():
    found = drawn(halves(numbered([1, 2, 3, 4, 5, 6]), 8, np.random.default_rng(0)))
    for one, other in zip(found[::2], found[1::2], strict=True):
        assert one | other == set(range(21)) and not one & other
    units = drawn(np.concatenate(unit) for unit in numbered([1, 2, 3, 4, 5, 6]))
    assert all(sum(unit <= one for unit in units) == 3 for one in found)
    assert len(set(map(frozenset, found))) > 2


def test_effective_files_are_those_of_the_design_effect():
    """1 + 4 · 0.5 for 5 files an artist that share half of their variance; windows count not."""
    rng = np.random.default_rng(0)
    shared = np.repeat(rng.standard_normal((400, 1, 6)), 5, axis=0)
    files = shared + rng.standard_normal((2000, 1, 6))
    artists = [str(i // 5) for i in range(2000)]
    assert effective_files(by_artist(files, artists)) == pytest.approx(2000 / 3, rel=0.1)
    assert effective_files(by_artist(np.repeat(files, 3, axis=1), artists)) == pytest.approx(
        2000 / 3, rel=0.1
    )
    assert effective_files(alone(files)) == 2000
    # Files of an artist that are all alike are worth one; opposite ones are worth no more than all.
    assert effective_files(by_artist(shared, artists)) == pytest.approx(400, abs=1)
    opposite = files * np.resize([1, -1], (2000, 1, 1))
    assert (
        effective_files(by_artist(opposite - opposite.mean(0), [str(i // 2) for i in range(2000)]))
        == 2000
    )


def test_effective_files_of_few_artists_by_hand():
    """Errors −5, −1, −1 | −1, 3 | 1, 4 | 0, 0, 0: squares 54 · 10/9; 49, 4, 25, 0: 78 · 4/3."""
    errors = [[-5, -1, -1], [-1, 3], [1, 4], [0, 0, 0]]
    units = [[np.array([[7.0 + error]]) for error in unit] for unit in errors]
    assert effective_files(units) == round(10 * (54 * 10 / 9) / (78 * 4 / 3)) == 6


def test_effective_files_are_no_fewer_than_artists():
    """Unequal artists who are wide apart would count as 2."""
    units = [[np.array([[9.0]])] * 8, [np.array([[-6.0]])] * 8, *numbered([1] * 3)]
    assert effective_files(units) == 5


def test_files_that_are_all_the_same_are_as_many_as_they_are():
    files = list(np.repeat(np.random.default_rng(0).standard_normal((1, 3, 20)), 12, axis=0))
    assert effective_files(by_artist(files, [str(i // 3) for i in range(12)])) == 12


def test_unequal_units_count_for_less():
    assert equal_units(numbered([5, 5, 5, 5])) == pytest.approx(4)
    assert equal_units(numbered([17, 1, 1, 1])) == pytest.approx(400 / 292)


def test_few_artists_make_intervals_wider_and_files_do_not():
    few, more, files = numbered([3] * 6), numbered([3] * 30), numbered([1] * 20)
    assert student(more, few) == student(few, files) == pytest.approx(stats.t.ppf(0.975, 5))
    assert student(more, files) == pytest.approx(stats.t.ppf(0.975, 29))
    assert student(files, files) == pytest.approx(stats.norm.ppf(0.975))
