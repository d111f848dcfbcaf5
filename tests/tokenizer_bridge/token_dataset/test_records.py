"""The token dataset: what is written is read back, and nothing damaged passes for whole."""

import dataclasses
import functools
import json
import operator
import pickle
import resource
import subprocess
import sys

import msgpack
import numpy as np
import pytest
from array_record.python.array_record_module import ArrayRecordWriter

from tokenizer_bridge.sources.splits import SPLITS, assign_splits, split_of
from tokenizer_bridge.token_dataset.errors import UserError, is_disk_full
from tokenizer_bridge.token_dataset.files import file_sha256
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

CODEC = {
    "name": "demo",
    "weights_sha256": "ab" * 32,
    "sample_rate": 24000,
    "hop_length": 320,
    "codebook_size": 4096,
}


def make_record(index: int) -> Record:
    tokens = np.random.default_rng(index).integers(0, 4096, 500 + index).astype(np.uint16)
    return Record(f"album/träck{index}", tokens, 6.5, "Ärtist", ("genre---rock",), {"seed": index})


@pytest.fixture
def path(tmp_path):
    """A dataset of ten training tracks in three shards, and one validation track."""
    with TokenDatasetWriter(tmp_path / "tokens", CODEC, tokens_per_shard=2000) as writer:
        for index in range(10):
            writer.write("train", make_record(index))
        writer.write("validation", make_record(10))
    return tmp_path / "tokens"


def refusal(action) -> str:
    with pytest.raises(UserError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit_json(path, change) -> None:
    meta = json.loads((path / "dataset.json").read_text())
    change(meta)
    (path / "dataset.json").write_text(json.dumps(meta))


def flip_a_bit(file, position: int) -> None:
    data = bytearray(file.read_bytes())
    data[position] ^= 1
    file.write_bytes(data)


def test_round_trip(path):
    dataset = pickle.loads(pickle.dumps(TokenDataset(path)))
    dataset.verify()
    assert dataset.codec == CODEC
    assert set(dataset.splits) == {"train", "validation"}
    assert sorted(file.name for file in path.iterdir()) == [
        "dataset.json",
        "train-00000-of-00003.array_record",
        "train-00001-of-00003.array_record",
        "train-00002-of-00003.array_record",
        "validation-00000-of-00001.array_record",
    ]
    assert dataset.lengths("train").dtype == np.int32
    assert dataset.lengths("train").tolist() == list(range(500, 510))
    for index, record in enumerate(dataset.records("train")):
        wanted = make_record(index)
        assert record.tokens.dtype == np.uint16
        np.testing.assert_array_equal(record.tokens, wanted.tokens)
        assert (record.id, record.duration_s, record.artist, record.tags, record.source) == (
            wanted.id, wanted.duration_s, wanted.artist, wanted.tags, wanted.source
        )  # fmt: skip
    assert dataset.read("train", 7).id == "album/träck7"
    with pytest.raises(IndexError):
        dataset.read("train", 10)
    assert "no split 'test', only train, validation" in refusal(lambda: dataset.lengths("test"))


def test_the_stored_map_is_the_documented_one():
    stored = msgpack.unpackb(make_record(3).to_bytes())
    assert stored["num_tokens"] == 503
    np.testing.assert_array_equal(np.frombuffer(stored["tokens"], "<u2"), make_record(3).tokens)
    assert stored["tags"] == ["genre---rock"]


def test_same_records_same_bytes(path, tmp_path):
    with TokenDatasetWriter(tmp_path / "again", CODEC, tokens_per_shard=2000) as writer:
        for record in TokenDataset(path).records("train"):
            writer.write("train", record)
        writer.write("validation", make_record(10))
    for file in path.iterdir():
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_a_directory_without_dataset_json_is_not_whole(path, tmp_path):
    (path / "dataset.json").unlink()
    assert "not a whole token dataset" in refusal(lambda: TokenDataset(path))
    assert "not a directory" in refusal(lambda: TokenDataset(tmp_path / "nowhere"))


def test_dataset_json_must_be_understood(path):
    edit_json(path, lambda meta: meta.update(format_version=2))
    message = refusal(lambda: TokenDataset(path))
    assert "dataset.json" in message and "format_version 2 is unknown" in message
    edit_json(path, lambda meta: meta.update(format_version=1))
    edit_json(path, lambda meta: meta["splits"]["train"]["lengths"].pop())
    assert "9 lengths for 10 records" in refusal(lambda: TokenDataset(path))
    edit_json(path, lambda meta: meta["codec"].pop("hop_length"))
    assert "dataset.json: lacks 'hop_length'" in refusal(lambda: TokenDataset(path))
    (path / "dataset.json").write_text((path / "dataset.json").read_text()[:50])
    assert "dataset.json is not JSON" in refusal(lambda: TokenDataset(path))


def places(tree, above=()):
    """Keys that lead to each entry of nested maps and lists, the maps and lists themselves too."""
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        yield (*above, key)
        if isinstance(value, dict | list):
            yield from places(value, (*above, key))


def test_nothing_in_dataset_json_can_be_of_another_kind(path):
    whole = (path / "dataset.json").read_text()
    for *above, key in places(json.loads(whole)):
        if above == ["origin"] or key == "format_version":
            continue  # what is in `origin` is the writer's business; versions have their own test
        for other in (None, "../x", -1, 0.5, [], {}, True, 10**30):
            meta = json.loads(whole)
            node = functools.reduce(operator.getitem, above, meta)
            same_kind = type(node[key]) is type(other)
            node[key] = other
            (path / "dataset.json").write_text(json.dumps(meta))
            try:
                TokenDataset(path).verify()
            except UserError:
                continue
            assert same_kind, f"{above} {key} = {other!r} went unnoticed"


def test_missing_and_truncated_shards(path):
    shard = path / "train-00001-of-00003.array_record"
    shard.write_bytes(shard.read_bytes()[:-1000])
    message = refusal(lambda: TokenDataset(path))
    assert shard.name in message and "cut short" in message
    shard.unlink()
    message = refusal(lambda: TokenDataset(path))
    assert shard.name in message and "missing" in message


def test_a_shard_that_another_one_replaces_before_it_is_opened(path, tmp_path):
    dataset = TokenDataset(path)
    first = dataclasses.replace(make_record(10), id="a new one", tokens=np.ones(510, np.uint16))
    with TokenDatasetWriter(tmp_path / "grown", CODEC) as writer:
        for record in (first, make_record(10)):  # of the length that the old one has at its place
            writer.write("validation", record)
    for name in ("validation-00000-of-00001.array_record", "dataset.json"):
        (path / "dataset.json").unlink(missing_ok=True)
        (tmp_path / "grown" / name).replace(path / name)
        assert "dataset.json has changed since" in refusal(lambda: dataset.read("validation", 0))


def test_a_flipped_bit_is_found_wherever_it_is(path):
    shard = path / "train-00001-of-00003.array_record"
    whole = shard.read_bytes()
    for position in np.random.default_rng(0).integers(0, len(whole), 20):
        flip_a_bit(shard, position)
        message = refusal(TokenDataset(path).verify)
        assert shard.name in message and "damaged" in message
        shard.write_bytes(whole)
    TokenDataset(path).verify()


def test_a_flipped_bit_in_a_record_is_found_when_it_is_read(path):
    shard = path / "train-00001-of-00003.array_record"
    tokens = TokenDataset(path).read("train", 5).tokens.astype("<u2").tobytes()
    position = shard.read_bytes().find(tokens[:100])
    if position < 0:  # compressed: take the file's first data instead
        position = 200
    flip_a_bit(shard, position)
    dataset = TokenDataset(path)
    with pytest.raises(UserError) as caught:
        list(dataset.records("train"))
    assert f"{shard.name}: record " in str(caught.value)
    assert dataset.read("train", 9).id == "album/träck9"  # another shard is as good as ever


def rewrite_shard(path, payloads: list[bytes]) -> None:
    """Replace the validation shard, and make dataset.json agree with its bytes."""
    shard = path / "validation-00000-of-00001.array_record"
    shard.unlink()
    writer = ArrayRecordWriter(str(shard), "group_size:1")
    for payload in payloads:
        writer.write(payload)
    writer.close()
    entry = {"num_bytes": shard.stat().st_size, "sha256": file_sha256(shard)}
    edit_json(path, lambda meta: meta["splits"]["validation"]["shards"][0].update(entry))


def test_a_record_cut_short(path):
    whole = make_record(10).to_bytes()
    rewrite_shard(path, [whole[: len(whole) // 2]])
    message = refusal(lambda: TokenDataset(path).read("validation", 0))
    assert "validation-00000-of-00001.array_record: record 0 is damaged" in message

    fields = msgpack.unpackb(whole)
    rewrite_shard(path, [msgpack.packb(fields | {"tokens": fields["tokens"][:-1]})])
    message = refusal(lambda: TokenDataset(path).read("validation", 0))
    assert "510 tokens promised, 1019 bytes found" in message

    rewrite_shard(path, [make_record(9).to_bytes()])
    message = refusal(lambda: TokenDataset(path).read("validation", 0))
    assert "has 509 tokens, dataset.json says 510" in message

    rewrite_shard(path, [msgpack.packb({"id": "x"})])
    assert "no msgpack map of a track" in refusal(lambda: TokenDataset(path).read("validation", 0))


def test_a_token_out_of_range(path):
    fields = msgpack.unpackb(make_record(10).to_bytes())
    tokens = np.frombuffer(fields["tokens"], "<u2").copy()
    tokens[100] = 4096
    rewrite_shard(path, [msgpack.packb(fields | {"tokens": tokens.tobytes()})])
    message = refusal(TokenDataset(path).verify)
    assert "validation-00000-of-00001.array_record: record 0" in message
    assert "token 4096 is outside the codec's 4096 codes" in message


def test_the_writer_refuses_what_the_reader_would(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), TokenDatasetWriter(tmp_path, CODEC) as writer:
        for tokens in ([4096], [-1], [0.5], []):
            with pytest.raises(ValueError, match="record 'x': "):
                writer.write("train", Record("x", np.array(tokens), 1.0))
        with pytest.raises(ValueError, match="split 'Train-1'"):
            writer.write("Train-1", make_record(0))
        writer.write("train", make_record(0))
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_another_codec(path):
    dataset = TokenDataset(path)
    dataset.require_codec(CODEC | {"name": "the same under another name"})
    message = refusal(lambda: dataset.require_codec(CODEC | {"weights_sha256": "cd" * 32}))
    assert "dataset.json" in message and "do not match codec 'demo' (weights_sha256" in message
    # Of one whose weights nobody has seen yet, the name decides; the rates always do.
    dataset.require_codec(CODEC | {"weights_sha256": ""})
    by_name = CODEC | {"weights_sha256": "", "name": "other"}
    assert "(name demo against other)" in refusal(lambda: dataset.require_codec(by_name))
    other_rate = CODEC | {"weights_sha256": "", "hop_length": 600}
    assert "(hop_length 320 against 600)" in refusal(lambda: dataset.require_codec(other_rate))


def test_a_whole_dataset_is_not_overwritten(path):
    assert "already holds a whole token dataset" in refusal(lambda: TokenDatasetWriter(path, CODEC))


def test_shards_of_a_killed_writer_are_cleared(tmp_path):
    TokenDatasetWriter(tmp_path, CODEC).write("train", make_record(0))  # never closed
    assert [file.name for file in tmp_path.iterdir()] == ["train-00000.array_record.partial"]
    with TokenDatasetWriter(tmp_path, CODEC) as writer:
        writer.write("test", make_record(0))
    assert TokenDataset(tmp_path).splits == ("test",)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_fills(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises((OSError, RuntimeError)) as caught:
            with TokenDatasetWriter(tmp_path, CODEC) as writer:
                for index in range(300):
                    writer.write("train", make_record(index))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert is_disk_full(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_splits_do_not_move_and_have_their_shares():
    pinned = {"track3": "test", "track4": "train", "artist19": "validation"}
    assert {name: split_of(name) for name in pinned} == pinned
    counts = {split: 0 for split in SPLITS}
    for i in range(10_000):
        counts[split_of(f"track{i}")] += 1
    assert abs(counts["validation"] - 500) < 100 and abs(counts["test"] - 500) < 100
    few = {f"track{i}": None for i in range(300)}
    many = few | {f"more{i}": None for i in range(300)}
    assert assign_splits(few).items() <= assign_splits(many).items()


def test_splits_share_no_artist():
    artists = {f"track{i}": f"artist{i % 40}" if i % 5 else None for i in range(800)}
    splits = assign_splits(artists)
    for artist in set(artists.values()) - {None}:
        assert len({splits[track] for track in artists if artists[track] == artist}) == 1
    assert set(splits.values()) == set(SPLITS)


@pytest.mark.parametrize("artists", [
    {f"song{i}": None for i in range(10)},
    {f"song{i}": None for i in range(3)},
    {f"song{i}": "the only one" for i in range(10)},
    {f"song{i}": f"artist{i // 4}" for i in range(12)},
])  # fmt: skip
def test_small_sets_fill_every_split(artists):
    splits = assign_splits(artists)
    assert set(splits.values()) == set(SPLITS)
    assert splits == assign_splits(dict(reversed(artists.items())))
    known = set(artists.values()) - {None}
    if len(known) > 1:
        for artist in known:
            assert len({splits[track] for track in artists if artists[track] == artist}) == 1


def test_the_smallest_sets():
    assert assign_splits({"a": None}) == {"a": "train"}
    assert sorted(assign_splits({"a": None, "b": None}).values()) == ["train", "validation"]
    two_artists = {"a1": "a", "a2": "a", "a3": "a", "b1": "b"}
    assert assign_splits(two_artists) == {
        "a1": "train", "a2": "train", "a3": "train", "b1": "validation"
    }  # fmt: skip


def test_records_need_neither_framework():
    code = (
        "import sys; sys.modules['torch'] = sys.modules['jax'] = None\n"
        "import tokenizer_bridge.token_dataset.records"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_equal_contents_join_the_groups_that_they_are_in():
    artists = {f"{artist}/{song}": artist for artist in "abcdefghijklmnop" for song in range(3)}
    artists |= {f"loose{i}": None for i in range(20)}
    apart = assign_splits(artists)
    contents = {track: track for track in artists}
    assert assign_splits(artists, contents) == apart
    # a and b share a song, b and c another one, and c has a loose one.
    contents |= {"b/0": "a/0", "c/1": "b/1", "loose3": "c/2"}
    joined = assign_splits(artists, contents)
    assert len({joined[f"{artist}/{song}"] for artist in "abc" for song in range(3)}) == 1
    assert joined["loose3"] == joined["c/2"] == split_of("a")
    kept = [track for track in artists if track[0] not in "abc" and track != "loose3"]
    assert all(joined[track] == apart[track] for track in kept)
    assert joined == assign_splits(dict(reversed(artists.items())), contents)
