import itertools
import time
import tracemalloc

import numpy as np
import pytest

from sedd_jax import data as data_lib
from sedd_jax.errors import UserError
from tests.sedd_jax.toy import write_dataset
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

LENGTH = 16
TRACKS = [40, 100, 7, 33, 16, 64, 15]
# Windows of a cycle of 16 epochs: n + 15 of a track, 16 of one of 16 tokens, 22 + 15 of the joined.
PER_CYCLE = 55 + 115 + 48 + 16 + 79 + 37


def numbered(path, lengths) -> TokenDataset:
    """Tracks whose tokens are numbered through the whole data set."""
    codec = {
        "name": "toy", "weights_sha256": "0" * 64, "sample_rate": 24_000, "hop_length": 320,
        "codebook_size": 2**16,
    }  # fmt: skip
    with TokenDatasetWriter(path, codec) as writer:
        first = 0
        for track, length in enumerate(lengths):
            tokens = np.arange(first, first + length, dtype=np.uint16)
            writer.write("train", Record(str(track), tokens, length / 75))
            first += length
    return TokenDataset(path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return numbered(tmp_path_factory.mktemp("data") / "tokens", TRACKS)


def batches(dataset, batch_size, num_steps, **kwargs):
    iterator = data_lib.training_batches(
        dataset, "train", **{"length": LENGTH, "batch_size": batch_size, "seed": 3} | kwargs
    )
    return list(itertools.islice(iterator, num_steps))


def visits(dataset, length, num_windows) -> list[np.ndarray]:
    """The number of visits to each token of each track by the first windows, (n,) a track."""
    tokens = np.concatenate(batches(dataset, 1, num_windows, length=length))
    lengths = dataset.lengths("train")
    visits_N = np.bincount(tokens.ravel(), minlength=lengths.sum())
    return np.split(visits_N, np.cumsum(lengths)[:-1])


def test_windows_have_vectors_of_their_tracks_or_their_mean(tmp_path):
    vectors = [{"clip": np.float32([1, 0])}, {"clip": np.float32([0, 1])}, {"clip": np.zeros(2)}]
    vectors[1]["speaker"] = np.ones(1)
    path = write_dataset(tmp_path / "tokens", {"train": [4, 12, 40]}, vectors={"train": vectors})
    told = []
    batches(
        TokenDataset(path), 8, 20, condition_of=lambda tags, vectors: told.append(vectors) or {}
    )
    clips = {tuple(vectors["clip"].tolist()) for vectors in told}
    assert clips == {(0.25, 0.75), (0.0, 0.0)}  # of the two joined, by their tokens; of the third
    assert all(set(vectors) == {"clip"} for vectors in told)


def test_starts_and_ends_of_tracks_are_trained_on_like_their_middles(tmp_path):
    lengths, length, num_epochs = [2250, 2047, 2048, 18000], 1024, 40
    dataset = numbered(tmp_path / "tokens", lengths)
    per_epoch = data_lib.plan_windows(dataset, "train", length).per_epoch
    assert per_epoch == sum(n + length - 1 for n in lengths) / length
    tracks = visits(dataset, length, round(num_epochs * per_epoch))
    for n, visits_N in zip(lengths, tracks, strict=True):
        mean_N = visits_N / num_epochs
        # An epoch more or less of a track may stand at the border of the last one.
        most = 3 if n < 2 * length else 2
        assert mean_N.min() > 1 - 1.5 / num_epochs and mean_N.max() < most + 1.5 / num_epochs
        assert mean_N[:75].mean() == pytest.approx(1, abs=0.15)  # the first second, and the last
        assert mean_N[-75:].mean() == pytest.approx(1, abs=0.15)
        assert mean_N.sum() == pytest.approx(n + length - 1, rel=0.05)  # no jump at 2,048
    assert tracks[3][1100:-1100].mean() == pytest.approx(num_epochs, rel=0.03)


def test_a_cycle_visits_every_token_as_often_as_it_should(dataset):
    """Exactly, since each phase comes once. A window is of one track, unless tracks are short."""
    tracks = visits(dataset, LENGTH, PER_CYCLE)
    position = np.arange(100)
    from_end = np.minimum(position, position[::-1])
    np.testing.assert_array_equal(tracks[1], LENGTH + np.where(from_end < LENGTH, from_end, 0))
    np.testing.assert_array_equal(tracks[4], np.full(16, LENGTH))  # one window, whatever the phase
    weight = [int(track.sum()) / LENGTH for track in tracks]
    assert [weight[t] for t in (0, 1, 3, 4, 5)] == [40 + 15, 100 + 15, 33 + 15, 16, 64 + 15]
    assert weight[2] + weight[6] == 22 + 15
    for track in (tracks[2], tracks[6]):
        assert LENGTH <= track.min() and track.max() <= 3 * LENGTH
    windows = np.concatenate(batches(dataset, 1, PER_CYCLE))
    starts = np.cumsum([0, *TRACKS])
    for window in windows:
        is_short = np.isin(np.searchsorted(starts, window, side="right") - 1, [2, 6])
        assert is_short.all() or (np.diff(window) == 1).all() and not is_short.any()
    assert windows.dtype == np.int32


def test_epochs_differ_in_order_and_phase(dataset):
    order = data_lib.WindowOrder(data_lib.plan_windows(dataset, "train", LENGTH), seed=3)
    shift_E, ends_E = order._cycle(0)
    assert ends_E[-1] == PER_CYCLE and sorted(shift_E) == list(range(LENGTH))
    epochs = [
        [order.spans(position) for position in range(begin, end)]
        for begin, end in itertools.pairwise([0, *ends_E.tolist()])
    ]
    for epoch in epochs:  # every token of every track, and no window twice
        assert len({tuple(spans) for spans in epoch}) == len(epoch)
        seen = {(s.track, i) for spans in epoch for s in spans for i in range(s.start, s.stop)}
        assert len(seen) == sum(TRACKS)
    assert len({tuple(sorted(map(tuple, epoch))) for epoch in epochs}) == LENGTH
    firsts = [epoch[0][0].track for epoch in epochs]
    assert len(set(firsts)) > 2
    again = [order.spans(position) for position in range(PER_CYCLE, 2 * PER_CYCLE)]
    assert again != [spans for epoch in epochs for spans in epoch]


def test_short_tracks_that_fill_no_window_are_joined_to_the_start_of_a_long_one(tmp_path):
    tokens = np.concatenate(batches(numbered(tmp_path / "tokens", [20, 5]), 1, 200))
    short = (tokens >= 20).any(axis=1)
    assert short.mean() == pytest.approx(16 / (16 + 35), abs=0.02)  # a window of each epoch
    np.testing.assert_array_equal(
        tokens[short], np.tile([20, 21, 22, 23, 24, *range(11)], (short.sum(), 1))
    )


def test_large_data_sets_open_and_resume_fast_and_take_little_memory():
    tokens_T = np.random.default_rng(0).integers(300, 36_000, 55_701).astype(np.int32)
    windows = data_lib.Windows(
        1024, tokens_T, np.flatnonzero(tokens_T >= 1024), np.flatnonzero(tokens_T < 1024)
    )
    began = time.process_time()
    tracemalloc.start()
    order = data_lib.WindowOrder(windows, seed=0)
    here = order.spans(128 * 10**6)
    opened = time.process_time() - began
    for position in range(128 * 10**6, 128 * 10**6 + 1000):
        order.spans(position)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6  # bytes; an epoch has a million windows
    assert opened < 2 and time.process_time() - began < 4
    # The same whatever was asked for before.
    other = data_lib.WindowOrder(windows, seed=0)
    other.spans(5)
    assert other.spans(128 * 10**6) == here


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


def test_too_few_tokens_or_no_such_split_is_refused(tmp_path):
    dataset = TokenDataset(write_dataset(tmp_path / "tokens", {"train": [5, 9]}))
    with pytest.raises(UserError, match="'train' have 14 tokens together"):
        data_lib.plan_windows(dataset, "train", LENGTH)
    with pytest.raises(Exception, match="no split 'test'"):
        data_lib.plan_windows(dataset, "test", LENGTH)


def test_fingerprint_follows_the_tokens_not_the_place(tmp_path):
    prints = [
        data_lib.fingerprint(TokenDataset(write_dataset(tmp_path / name, seed=seed)), "train")
        for name, seed in [("a", 0), ("b", 0), ("c", 1)]
    ]
    assert prints[0] == prints[1] != prints[2]
