"""Windows over a measured split: every token of every track counts once."""

import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.likelihood.held_out import SplitWindows, cut_windows
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge.token_dataset.records import TokenDataset

LENGTHS = {"validation": [5, 50, 7, 32, 16], "test": [15], "long": [2250, 2047, 2048, 18000]}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> TokenDataset:
    return TokenDataset(write_dataset(tmp_path_factory.mktemp("tokens"), LENGTHS))


@pytest.mark.parametrize(("split", "length"), [("validation", 16), ("long", 1024)])
def test_every_token_of_every_track_counts_once(dataset, split, length):
    windows = cut_windows(dataset, split, length)
    assert windows.tokens_WxL.shape == (len(windows), length)
    assert windows.ids == tuple(record.id for record in dataset.records(split))
    for track, record in enumerate(dataset.records(split)):
        of_track = windows.take(np.flatnonzero(windows.track_W == track))
        assert of_track.part_W.tolist() == list(range(len(of_track)))
        ends = [
            tokens_L[length - counted :]
            for tokens_L, counted in zip(of_track.tokens_WxL, of_track.counted_W, strict=True)
        ]
        np.testing.assert_array_equal(np.concatenate(ends), record.tokens)
        np.testing.assert_array_equal(
            of_track.total(of_track.tokens_WxL.astype(int)), [end.sum(dtype=int) for end in ends]
        )
        if len(record.tokens) >= length:  # what does not count is of the same track
            assert not of_track.begin_W.any()
            np.testing.assert_array_equal(of_track.tokens_WxL[-1], record.tokens[-length:])


def test_a_short_track_is_read_behind_what_stands_before_it(dataset):
    windows = cut_windows(dataset, "validation", 16)
    tracks = [record.tokens for record in dataset.records("validation")]
    assert windows.begin_W.tolist() == [11, 0, 0, 0, 0, 9, 0, 0, 0]
    assert windows.counted_W.tolist() == [5, 16, 16, 16, 2, 7, 16, 16, 16]
    np.testing.assert_array_equal(windows.tokens_WxL[5, :9], tracks[1][-9:])
    np.testing.assert_array_equal(windows.tokens_WxL[0, :11], tracks[-1][-11:])


def test_codes_that_a_model_does_not_know_count_nowhere(dataset):
    windows = cut_windows(dataset, "validation", 16)
    known = windows.knowing(3)  # of tracks that walk over 32 codes
    assert 0 < len(known) < len(windows) and known.counted_W.all()
    tokens = np.concatenate([record.tokens for record in dataset.records("validation")])
    assert known.counted_W.sum() == (tokens < 3).sum()
    assert known.total(known.tokens_WxL.astype(int)).sum() == tokens[tokens < 3].sum()
    np.testing.assert_array_equal(windows.knowing(32).counted_W, windows.counted_W)
    with pytest.raises(UserError, match="no token of these tracks is below 0"):
        windows.knowing(0)


def test_unusable_splits_are_refused(dataset):
    with pytest.raises(UserError, match="'test' have 15 tokens together"):
        cut_windows(dataset, "test", 16)
    with pytest.raises(Exception, match="no split 'dev', only"):
        cut_windows(dataset, "dev", 16)


def test_chosen_windows_stand_at_all_places_of_tracks_of_equal_length():
    part_W = np.tile(np.arange(8), 50)
    windows = SplitWindows(
        np.zeros((400, 4), np.uint16),
        np.repeat(np.arange(50), 8),
        part_W,
        np.full(400, 4),
        (),
        (),
        (),
        (),
    )
    chosen = windows.spread(50)
    assert len(chosen) == 50 and (np.bincount(chosen.part_W, minlength=8) > 1).all()
    assert (np.diff(chosen.track_W) >= 0).all() and len(np.unique(chosen.track_W)) == 50
    np.testing.assert_array_equal(chosen.part_W, windows.spread(50).part_W)
    assert windows.spread(400) is windows
