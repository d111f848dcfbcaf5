"""Token datasets in an object store; fsspec's own in memory stands for it."""

import json
import time

import fsspec
import numpy as np
import pytest

from tokenizer_bridge.token_dataset import buckets
from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

URL = "memory://bucket/tokens"
CODEC = {
    "name": "toy", "weights_sha256": "0" * 64, "sample_rate": 24000, "hop_length": 320,
    "codebook_size": 16,
}  # fmt: skip


def write_dataset(path, seed=0):
    """A token dataset of six tracks, in several shards."""
    rng = np.random.default_rng(seed)
    with TokenDatasetWriter(path, CODEC, tokens_per_shard=100) as writer:
        for i in range(6):
            split = "validation" if i == 5 else "train"
            writer.write(split, Record(f"track{i}", rng.integers(16, size=60), 0.8))
    return path


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A token dataset at URL, and on disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = write_dataset(tmp_path / "tokens")
    for path in folder.iterdir():
        Bucket(URL).upload(path, path.name)
    yield folder
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_a_dataset_is_read_from_its_copy(store, monkeypatch):
    there, here = TokenDataset(URL), TokenDataset(store)
    assert there.place == URL and here.place == str(store)
    assert [r.to_bytes() for r in there.records("train")] == [
        r.to_bytes() for r in here.records("train")
    ]
    monkeypatch.setattr(Bucket, "download", None)  # the copy is there
    assert TokenDataset(URL + "/").path == there.path


def test_other_data_at_the_same_place_is_copied_anew(store, tmp_path):
    before = TokenDataset(URL)
    for path in write_dataset(tmp_path / "other", seed=1).iterdir():
        Bucket(URL).upload(path, path.name)
    after = TokenDataset(URL)
    assert after.path != before.path
    assert next(after.records("train")).to_bytes() != next(before.records("train")).to_bytes()


def test_what_is_damaged_on_the_way_is_named_and_not_kept(store):
    whole = next(store.glob("train-*"))
    Bucket(URL).write(whole.name, b"x" + whole.read_bytes()[1:])
    for _ in range(2):
        with pytest.raises(UserError, match=f"^{URL}/{whole.name} is damaged: its SHA-256"):
            TokenDataset(URL)
    Bucket(URL).upload(whole, whole.name)
    assert TokenDataset(URL).num_records("train")
    Bucket(URL).remove([whole.name])
    text = json.dumps(json.loads(Bucket(URL).read("dataset.json")), indent=2)
    Bucket(URL).write("dataset.json", text.encode())
    with pytest.raises(UserError, match=f"{whole.name} is missing"):
        TokenDataset(URL)


def test_what_is_not_there_is_named():
    with pytest.raises(UserError, match="^memory://nowhere/x holds no token dataset: there is no"):
        TokenDataset("memory://nowhere/x")
    with pytest.raises(UserError, match="^nonsense://x: Protocol not known: nonsense"):
        TokenDataset("nonsense://x")


@pytest.mark.parametrize("kind", [ConnectionError, FileNotFoundError])  # of a bucket, as S3's
def test_what_a_store_refuses_is_one_line(kind, monkeypatch):
    def refuse(*_, **__):
        raise kind("there is\nno such thing")

    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "pipe_file", refuse)
    with pytest.raises(UserError, match="^memory://bucket/run: there is no such thing$"):
        Bucket("memory://bucket/run").check_writable()


def test_a_slow_store_is_waited_for_once_a_file(store, monkeypatch):
    calls = []

    def slowly(self, name, path, download=Bucket.download):
        calls.append(name)
        time.sleep(0.05)
        download(self, name, path)

    monkeypatch.setattr(Bucket, "download", slowly)
    dataset = TokenDataset(URL)
    assert len(calls) == len(list(store.glob("*.array_record")))
    start = time.monotonic()
    for _ in dataset.records("train"):
        pass
    assert len(calls) == len(set(calls)) and time.monotonic() - start < 60
    assert buckets.cache_folder() in dataset.path.parents
