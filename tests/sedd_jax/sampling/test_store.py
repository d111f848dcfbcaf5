"""The output of a sampling job: goes on after a stop, and mixes with nothing else."""

import functools
import os

import fsspec
import numpy as np
import pytest

from sedd_jax.errors import UserError
from sedd_jax.sampling import store as store_lib
from sedd_jax.sampling.store import SampleStore, sole_sampler
from tests.sedd_jax.toy import CODEC, NUM_CODES
from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.locks import alone_in
from tokenizer_bridge.token_dataset.records import TokenDataset

SETTINGS = {"sampler": "euler", "seed": 1, "length": 6, "num_samples": 5}
TOKENS = np.random.default_rng(0).integers(0, NUM_CODES, (5, 6)).astype(np.uint16)


def open_store(path, **changes) -> SampleStore:
    return SampleStore(path, SETTINGS | changes, CODEC)


def save(store: SampleStore, *indices: int) -> None:
    store.save(np.array(indices), TOKENS[list(indices)])


def test_a_job_that_failed_withdraws_what_it_wrote_unless_there_are_samples(tmp_path):
    open_store(tmp_path / "new").withdraw()
    assert not (tmp_path / "new").exists()
    (tmp_path / "there").mkdir()
    open_store(tmp_path / "there").withdraw()
    assert list(tmp_path.iterdir()) == [tmp_path / "there"] and not any(tmp_path.glob("*/*"))
    store = open_store(tmp_path / "new")
    save(store, 0)
    store.withdraw()
    assert len(open_store(tmp_path / "new").missing()) == 4


def test_parts_become_a_dataset_in_order(tmp_path):
    store = open_store(tmp_path / "new")
    save(store, 3, 4)
    save(store, 0, 1, 2)
    (tmp_path / "new" / ".part-00000000-00000001.npy.7.partial").write_bytes(b"killed here")
    assert not store.is_whole and not (tmp_path / "new" / "dataset.json").exists()
    store.finish(seconds_per_sample=0.5)
    for whole in (store, open_store(tmp_path / "new")):
        assert whole.is_whole and not len(whole.missing())
    dataset = TokenDataset(tmp_path / "new")
    dataset.verify()
    records = list(dataset.records("generated"))
    np.testing.assert_array_equal(np.stack([record.tokens for record in records]), TOKENS)
    assert dataset.codec == CODEC
    assert dataset.origin == SETTINGS | {"seconds_per_sample": 0.5}
    assert records[4].id == "sample-00004"
    assert records[4].source == {"sampler": "euler", "seed": 1, "sample_index": 4}
    assert records[4].duration_s == pytest.approx(6 / 75)
    assert sorted(os.listdir(tmp_path / "new")) == [
        "dataset.json",
        "generated-00000-of-00001.array_record",
    ]


def test_a_stopped_job_misses_only_what_was_not_saved(tmp_path):
    save(open_store(tmp_path), 0)
    save(open_store(tmp_path), 2, 4)  # neighbours of a batch may have a gap between them
    np.testing.assert_array_equal(open_store(tmp_path).missing(), [1, 3])


def test_a_whole_output_is_recognised(tmp_path):
    store = open_store(tmp_path)
    save(store, *range(5))
    store.finish()
    assert open_store(tmp_path).is_whole


def test_more_samples_keep_those_there_are(tmp_path):
    def settings_of(n: int) -> dict:
        return SETTINGS | {"num_samples": n, "condition": {"tags_fingerprint": "abcde"[:n]}}

    def open_for(n: int) -> SampleStore:
        return SampleStore(tmp_path, settings_of(n), CODEC, settings_of=settings_of)

    save(open_for(2), 0)
    store = open_for(3)  # while it is being made
    np.testing.assert_array_equal(store.missing(), [1, 2])
    save(store, 1, 2)
    store.finish()
    np.testing.assert_array_equal(open_for(5).missing(), [3, 4])
    assert open_for(3).is_whole  # as long as those are not there
    store = open_for(5)
    save(store, 3, 4)
    store.finish()
    dataset = TokenDataset(tmp_path)
    dataset.verify()
    tokens_NxL = np.stack([record.tokens for record in dataset.records("generated")])
    np.testing.assert_array_equal(tokens_NxL, TOKENS)
    assert open_for(5).is_whole and dataset.origin["num_samples"] == 5
    with pytest.raises(UserError, match=r"other samples \(num_samples 5, not 4\)"):
        open_for(4)


@pytest.mark.parametrize("whole", [False, True])
def test_other_samples_are_refused(tmp_path, whole):
    store = open_store(tmp_path)
    save(store, *range(5))
    if whole:
        store.finish()
    with pytest.raises(UserError, match=r"holds other samples \(seed 1, not 2\)"):
        open_store(tmp_path, seed=2)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "song.wav").write_bytes(b"RIFF")
    with pytest.raises(UserError, match="is not empty"):
        open_store(tmp_path)
    with pytest.raises(UserError, match="cannot write to"):
        open_store(tmp_path / "song.wav" / "new")


def test_a_damaged_part_is_named_and_makes_no_dataset(tmp_path):
    store = open_store(tmp_path)
    save(store, 0, 1, 2)
    save(store, 3, 4)
    part = tmp_path / "part-00000003-00000005.npy"
    part.write_bytes(part.read_bytes()[:-3])
    with pytest.raises(UserError, match="part-00000003-00000005.npy is damaged"):
        store.finish()
    assert not (tmp_path / "dataset.json").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_samples_that_another_process_ended_are_not_overwritten_with_nothing(tmp_path):
    slow = open_store(tmp_path)
    save(slow, 0, 1)
    fast = open_store(tmp_path)
    save(fast, 2, 3, 4)
    fast.finish()
    save(slow, 2, 3)
    with pytest.raises(UserError, match="3 finished samples have gone, another process was at"):
        slow.finish()
    assert open_store(tmp_path).is_whole
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".array_record", ".json"]
    records = list(TokenDataset(tmp_path).records("generated"))
    np.testing.assert_array_equal([record.tokens for record in records], TOKENS)


def test_two_jobs_at_once_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(store_lib, "alone_in", functools.partial(alone_in, patience_s=0.0))
    with sole_sampler(tmp_path / "new"):
        with pytest.raises(UserError, match="new: another process is sampling there; stop it or"):
            with sole_sampler(tmp_path / "new"):
                raise AssertionError("both were let in")
        with sole_sampler("memory://bucket/new"):  # each has a copy of its own
            pass
    assert not (tmp_path / "new").exists()


def test_a_full_disk_leaves_no_part(tmp_path, monkeypatch):
    store = open_store(tmp_path)
    real_save = np.save

    def save_to_full_disk(file, array):
        with open("/dev/full", "wb", buffering=0) as full:
            real_save(full, array)

    monkeypatch.setattr(np, "save", save_to_full_disk)
    with pytest.raises(OSError, match="No space left"):
        save(store, 0)
    assert store.missing().size == 5


def test_a_job_in_an_object_store_goes_on_from_what_was_stored(monkeypatch):
    url = "memory://samples/new"
    store, bucket = open_store(url), Bucket(url)
    save(store, 0, 1)
    assert bucket.names() == ["part-00000000-00000002.npy", "sampling.json"]
    store = open_store(url)  # as on another machine
    np.testing.assert_array_equal(store.missing(), [2, 3, 4])
    save(store, 2, 3, 4)
    store.finish()
    names = ["dataset.json", "generated-00000-of-00001.array_record"]
    assert bucket.names() == names and store.path.name != "new"
    tokens_NxL = [record.tokens for record in TokenDataset(url).records("generated")]
    np.testing.assert_array_equal(tokens_NxL, TOKENS)

    more = open_store(url, num_samples=7)
    np.testing.assert_array_equal(more.missing(), [5, 6])
    assert bucket.names()[0] == "dataset.json"  # the old one, until the new one is there
    more.save(np.array([5, 6]), TOKENS[:2])
    with monkeypatch.context() as killed:
        killed.setattr(SampleStore, "_clear", lambda self: None)
        killed.setattr(Bucket, "upload", lambda self, path, name: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            more.finish()
    assert "dataset.json" not in bucket.names()
    again = open_store(url, num_samples=7)
    assert not len(again.missing())
    again.finish()
    assert bucket.names() == names and TokenDataset(url).num_records("generated") == 7
    with pytest.raises(UserError, match=f"^{url}/dataset.json holds other samples"):
        open_store(url, seed=2)
    open_store("memory://samples/other").withdraw()
    assert not Bucket("memory://samples/other").names()
    Bucket("memory://samples/other").write("x", b"")
    with pytest.raises(UserError, match="^memory://samples/other is not empty"):
        open_store("memory://samples/other")
    fsspec.filesystem("memory").rm("/samples", recursive=True)
