"""Vectors in records and in .npy files: what comes back, and what is refused."""

import json

import msgpack
import numpy as np
import pytest

from tests.tokenizer_bridge.token_dataset.test_records import CODEC, edit_json, make_record, refusal
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter
from tokenizer_bridge.token_dataset.vectors import MAX_WIDTH, read_npy

WIDTHS = {"clip": 3, "speaker": 2}
VECTORS = {
    "clip": np.array([0.5, -1e-30, 3e38], np.float32),
    "speaker": np.array([1.0, 2.0], np.float32),
}


def with_vectors(vectors, index=0) -> Record:
    record = make_record(index)
    return Record(record.id, record.tokens, record.duration_s, vectors=vectors)


def test_vectors_come_back(tmp_path):
    with TokenDatasetWriter(tmp_path, CODEC, vectors=WIDTHS) as writer:
        writer.write("train", with_vectors(VECTORS))
        writer.write("train", with_vectors({"clip": VECTORS["clip"]}, 1))
    dataset = TokenDataset(tmp_path)
    dataset.verify()
    assert dataset.vectors == WIDTHS
    first, second = dataset.records("train")
    assert set(first.vectors) == set(WIDTHS) and set(second.vectors) == {"clip"}
    for kind, vector_W in first.vectors.items():
        assert vector_W.dtype == np.float32
        np.testing.assert_array_equal(vector_W, VECTORS[kind])


def test_without_vectors_the_format_is_what_it_was(tmp_path):
    assert set(msgpack.unpackb(make_record(0).to_bytes())) == {
        "id", "tokens", "num_tokens", "duration_s", "artist", "tags", "source",
    }  # fmt: skip
    with TokenDatasetWriter(tmp_path, CODEC) as writer:
        writer.write("train", make_record(0))
    meta = json.loads((tmp_path / "dataset.json").read_text())
    assert list(meta) == ["format_version", "codec", "origin", "splits"]
    assert TokenDataset(tmp_path).vectors == {}


@pytest.mark.parametrize(
    ("vectors", "fault"),
    [
        ({"clap": np.zeros(3)}, r"'clap', which is none of the kinds \['clip', 'speaker'\]"),
        ({"clip": np.zeros(4)}, r"'clip' has shape \(4,\), not 3"),
        ({"clip": np.zeros((1, 3))}, r"'clip' has shape \(1, 3\), not 3"),
        ({"clip": np.array([0, np.nan, 0])}, "'clip' has numbers that are not finite"),
    ],
)
def test_a_vector_that_breaks_the_format_is_not_written(tmp_path, vectors, fault):
    with pytest.raises(ValueError, match=f"record 'album/träck0': .*{fault}"):
        with TokenDatasetWriter(tmp_path, CODEC, vectors=WIDTHS) as writer:
            writer.write("train", with_vectors(vectors))


def test_damaged_vectors_are_named(tmp_path):
    for kind, width in ((" clip", 3), ("clip", 0), ("clip", MAX_WIDTH + 1), ("clip", 3.0)):
        with pytest.raises(ValueError, match="clip"):
            TokenDatasetWriter(tmp_path, CODEC, vectors={kind: width})
    with TokenDatasetWriter(tmp_path, CODEC, vectors=WIDTHS) as writer:
        writer.write("train", with_vectors(VECTORS))
    edit_json(tmp_path, lambda meta: meta["vectors"].update(clip=4))
    message = refusal(lambda: TokenDataset(tmp_path).read("train", 0))
    assert "record 0 is damaged: vector 'clip' has shape (3,), not 4" in message
    edit_json(tmp_path, lambda meta: meta.update(vectors=["clip"]))
    assert "dataset.json: vectors is ['clip']" in refusal(lambda: TokenDataset(tmp_path))


def save(array):
    return lambda path: np.save(path, array)


@pytest.mark.parametrize(
    ("write", "fault"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b""), "no whole .npy file"),
        (lambda path: path.write_text("0.1 0.2"), "no whole .npy file"),
        (save(np.array([{}])), "no whole .npy file"),  # which would be unpickled
        (save(np.zeros(0)), "no whole .npy file|has shape"),
        (save(np.zeros(2, complex)), "holds complex128, where numbers are needed"),
        (save(np.array(["a"])), "holds <U1"),
        (save(np.zeros(())), r"has shape \(\)"),
        (save(np.zeros((1, 512))), r"has shape \(1, 512\): \(width,\) is needed"),
        (save(np.zeros(MAX_WIDTH + 1)), r"has shape \(65537,\)"),
        (save(np.array([1.0, np.inf])), "not finite"),
        (save(np.array([1.0, 1e39])), "not finite"),  # more than float32 holds
    ],
)
def test_an_unusable_file_is_named(tmp_path, write, fault):
    path = tmp_path / "x.npy"
    write(path)
    with pytest.raises(Exception, match=fault) as caught:
        read_npy(path)
    assert caught.type.__name__ == "UserError" and str(path) in str(caught.value)


def test_files_are_read_as_float32(tmp_path):
    path = tmp_path / "x.npy"
    for array in (np.arange(3), np.arange(3, dtype=np.float16), np.asfortranarray(np.eye(3))):
        np.save(path, array)
        read = read_npy(path, 2)
        assert read.dtype == np.float32
        np.testing.assert_array_equal(read, array)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "no whole .npy file" in refusal(lambda: read_npy(path, 2))
    with open(path, "wb") as file:
        np.savez(file, a=np.zeros(3))
    assert "holds several arrays" in refusal(lambda: read_npy(path))
