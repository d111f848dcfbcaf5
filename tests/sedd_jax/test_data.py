import itertools

import numpy as np
import pytest

from sedd_jax import data as data_lib
from sedd_jax.errors import UserError
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

LENGTH = 16
TRACKS = [40, 100, 7, 33, 16, 64, 15]  # 2 + 6 + 0 + 2 + 1 + 4 + 0 windows
NUM_WINDOWS = 15


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Tracks that say who and where: token = 1000·track + position."""
    path = tmp_path_factory.mktemp("data") / "tokens"
    codec = {
        "name": "toy", "weights_sha256": "0" * 64, "sample_rate": 24_000, "hop_length": 320,
        "codebook_size": 10_000,
    }  # fmt: skip
    with TokenDatasetWriter(path, codec) as writer:
        for track, length in enumerate(TRACKS):
            tokens = np.arange(1000 * track, 1000 * track + length, dtype=np.uint16)
            writer.write("train", Record(str(track), tokens, length / 75))
    return TokenDataset(path)


def batches(dataset, batch_size, num_steps, **kwargs):
    iterator = data_lib.training_batches(
        dataset, "train", length=LENGTH, batch_size=batch_size, **{"seed": 3} | kwargs
    )
    return list(itertools.islice(iterator, num_steps))


def test_plan_gives_windows_in_proportion_to_length_and_counts_short_tracks(dataset):
    windows = data_lib.plan_windows(dataset, "train", LENGTH)
    assert len(windows) == NUM_WINDOWS
    assert np.bincount(windows.track_W).tolist() == [2, 6, 0, 2, 1, 4]
    assert windows.num_skipped == 2
    for window in range(len(windows)):
        last_start = TRACKS[windows.track_W[window]] - LENGTH
        assert 0 <= windows.start(window, 0.0) <= windows.start(window, 1 - 1e-16) <= last_start


def test_an_epoch_covers_each_window_once_and_the_next_is_another_order(dataset):
    epochs = [np.concatenate(batches(dataset, 5, 6)[3 * e : 3 * e + 3]) for e in range(2)]
    windows = data_lib.plan_windows(dataset, "train", LENGTH)
    for epoch in epochs:
        assert epoch.shape == (NUM_WINDOWS, LENGTH) and epoch.dtype == np.int32
        track, start = np.divmod(epoch[:, 0], 1000)
        assert (epoch == epoch[:, :1] + np.arange(LENGTH)).all()  # contiguous, of one track
        order = np.lexsort((start, track))
        np.testing.assert_array_equal(track[order], windows.track_W)
        for window, window_start in enumerate(start[order]):  # each in its own part of the starts
            assert windows.start(window, 0.0) <= window_start <= windows.start(window, 1 - 1e-16)
    orders = [(epoch[:, 0] // 1000).tolist() for epoch in epochs]
    assert orders[0] != orders[1] and sorted(orders[0]) not in orders


def test_every_token_is_seen_before_long(dataset):
    seen = np.unique(np.concatenate(batches(dataset, NUM_WINDOWS, 60)))
    usable = sum(length for length in TRACKS if length >= LENGTH)
    assert len(seen) > 0.97 * usable


def test_a_step_is_the_same_whenever_it_is_reached_and_another_seed_is_not(dataset):
    straight = batches(dataset, 4, 12)
    resumed = batches(dataset, 4, 5, start_step=7)
    np.testing.assert_array_equal(straight[7:], resumed)
    assert (batches(dataset, 4, 1, seed=4)[0] != straight[0]).any()


@pytest.mark.parametrize("num_hosts", [1, 4, 8])
def test_the_global_batch_does_not_depend_on_the_number_of_hosts(dataset, num_hosts):
    whole = batches(dataset, 16, 5)
    shares = np.split(np.arange(16), num_hosts)
    hosts = [batches(dataset, 16, 3, rows_R=rows_R, start_step=2) for rows_R in shares]
    np.testing.assert_array_equal(np.concatenate(hosts, axis=1), whole[2:])


def test_rows_of_a_host_may_be_any_rows(dataset):
    rows_R = np.array([1, 2, 9])
    part = batches(dataset, 16, 2, rows_R=rows_R)
    np.testing.assert_array_equal(part, np.stack(batches(dataset, 16, 2))[:, rows_R])


def test_only_short_tracks_or_no_such_split_is_refused(tmp_path):
    dataset = TokenDataset(write_dataset(tmp_path / "tokens", {"train": [5, 9]}))
    with pytest.raises(UserError, match="the longest has 9"):
        data_lib.plan_windows(dataset, "train", LENGTH)
    with pytest.raises(Exception, match="no split 'test'"):
        data_lib.plan_windows(dataset, "test", LENGTH)


def test_fingerprint_follows_the_tokens_not_the_place(tmp_path):
    prints = [
        data_lib.fingerprint(TokenDataset(write_dataset(tmp_path / name, seed=seed)), "train")
        for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    ]
    assert prints[0] == prints[1] != prints[2]
