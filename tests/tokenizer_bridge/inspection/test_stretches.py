"""Repeated stretches and equal tracks are found, at the right places, and nothing else is."""

import numpy as np
import pytest

from tokenizer_bridge.inspection.stretches import NGRAM, Stretch, StretchFinder

CODES = 4096


def found(tracks: list[np.ndarray], max_anchors: int = 2**20, count: int = 5):
    finder = StretchFinder(sum(map(len, tracks)), CODES, max_anchors)
    for track in tracks:
        finder.add(track)
    return finder, finder.repeated(tracks.__getitem__, count)


def random_tracks(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, CODES, length).astype(np.uint16) for length in lengths]


def test_a_copied_stretch_is_found_to_the_token():
    tracks = random_tracks(900, 40, 700)
    tracks[2][100:160] = tracks[0][333:393]
    finder, (looked_at, repeated, stretches) = found(tracks)
    assert finder.one_in == 1
    assert stretches == [Stretch(60, (0, 333), (2, 100))]
    assert repeated == 2 * (60 - NGRAM + 1)
    assert looked_at == sum(len(track) - NGRAM + 1 for track in tracks)


def test_a_loop_within_a_track_is_found():
    tracks = random_tracks(50, 800)
    tracks[1][200:600] = np.tile(tracks[1][200:300], 4)
    _, (_, _, stretches) = found(tracks)
    assert Stretch(300, (1, 200), (1, 300)) in stretches


def test_shorter_stretches_and_runs_of_one_code_are_none():
    tracks = random_tracks(900, 700)
    tracks[1][100 : 100 + NGRAM - 1] = tracks[0][333 : 333 + NGRAM - 1]
    for track in tracks:
        track[500:650] = 7
    # A run's edge is a stretch of its own only with NGRAM tokens that are not all one code.
    tracks[0][499], tracks[1][499] = 1, 2
    tracks[0][650], tracks[1][650] = 1, 2
    _, (_, repeated, stretches) = found(tracks)
    assert (repeated, stretches) == (0, [])


@pytest.mark.parametrize("max_anchors", [200, 1000])
def test_thinned_anchors_still_find_long_stretches(max_anchors):
    tracks = random_tracks(*[2_000] * 5)
    tracks[4][500:1500] = tracks[1][700:1700]
    finder, (looked_at, repeated, stretches) = found(tracks, max_anchors)
    assert finder.one_in > 1 and looked_at < 1.5 * max_anchors
    assert stretches == [Stretch(1000, (1, 700), (4, 500))]
    # An estimate of 2 · 969 of 9,845; its standard deviation is about √(1/repeated) of it.
    assert repeated / looked_at == pytest.approx(0.197, rel=4 / np.sqrt(repeated))


def test_equal_tracks_are_a_group_and_no_stretch():
    tracks = random_tracks(300, 10, 200)
    tracks += [tracks[0].copy(), tracks[1].copy(), tracks[0].copy()]
    finder, (_, repeated, stretches) = found(tracks)
    assert finder.equal_tracks() == [[0, 3, 5], [1, 4]]
    assert stretches == [] and repeated == 3 * (300 - NGRAM + 1)
