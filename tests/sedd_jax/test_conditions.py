"""The vocabulary: what is in it, how rows are told, what an unknown tag or vector is answered."""

import json

import numpy as np
import pytest

from sedd_jax.conditions import UNCONDITIONAL, VectorKind, Vocabulary, read_vocabulary
from sedd_jax.errors import UserError
from tests.sedd_jax.toy import CODEC, write_dataset
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

KNOWN = Vocabulary({"instrument---flute": 4, "genre---jig": 3, "genre---reel": 7}, max_tags=2)


def write_tagged(path, tags_of_tracks) -> TokenDataset:
    with TokenDatasetWriter(path, CODEC) as writer:
        for i, tags in enumerate(tags_of_tracks):
            writer.write("train", Record(str(i), np.zeros(4, np.uint16), 0.1, tags=tuple(tags)))
        writer.write("test", Record("t", np.zeros(4, np.uint16), 0.1, tags=("genre---x",)))
    return TokenDataset(path)


def test_vocabulary_is_what_enough_training_tracks_of_the_categories_have(tmp_path):
    dataset = write_tagged(
        tmp_path / "tokens",
        [
            ["mood/theme---sad", "genre---jig", "genre---reel", "live"],
            ["genre---jig", "mood/theme---sad", "genre---jig"],  # twice in a track counts once
            ["genre---waltz", "mood/theme---sad"],
            [],
        ],
    )
    vocabulary = read_vocabulary(dataset, "train", ("genre", "mood/theme"), 2)
    assert vocabulary == Vocabulary({"genre---jig": 2, "mood/theme---sad": 3}, max_tags=2)
    assert read_vocabulary(dataset, "train", (), 1) is UNCONDITIONAL and not UNCONDITIONAL
    assert len(read_vocabulary(dataset, "train", ("genre",), 1)) == 3
    with pytest.raises(UserError, match="tag key---…, .* its categories are genre, mood/theme$"):
        read_vocabulary(dataset, "train", ("genre", "key"), 1)
    with pytest.raises(
        UserError, match="category genre .*min_tracks 3 .*the most frequent has 2: ask"
    ):
        read_vocabulary(dataset, "train", ("mood/theme", "genre"), 3)


def test_rows_hold_ids_in_the_order_of_names_and_filler():
    rows = [["instrument---flute", "genre---jig", "genre---jig"], ["genre---unheard"], []]
    np.testing.assert_array_equal(KNOWN.condition(rows)["tags"], [[0, 2], [3, 3], [3, 3]])
    assert KNOWN.condition(rows)["tags"].dtype == np.int32
    assert KNOWN.condition([list(KNOWN.tracks)])["tags"].shape == (1, 3)  # more than any track has
    assert UNCONDITIONAL.condition(rows) is None


def test_vocabulary_comes_back_from_a_checkpoint():
    assert Vocabulary.from_json(KNOWN.to_json()) == KNOWN
    assert UNCONDITIONAL.to_json() == {}
    assert Vocabulary.from_json({}) == UNCONDITIONAL


@pytest.mark.parametrize(
    ("tag", "nearest"),
    [
        ("flute", "instrument---flute"),
        ("genre---Reel", "genre---reel"),
        ("genre---jigg", "genre---jig"),
    ],
)
def test_an_unknown_tag_is_answered_with_the_nearest(tag, nearest):
    assert KNOWN.require(["genre---jig", "genre---jig"]) == ("genre---jig",)
    with pytest.raises(UserError, match=f"no tag {tag!r}; the nearest: {nearest}"):
        KNOWN.require(["genre---jig", tag])


def test_a_text_is_no_list_of_tags():
    with pytest.raises(UserError, match="a list of tags is needed"):
        KNOWN.require("genre---jig")
    with pytest.raises(UserError, match="3 is no tag"):
        KNOWN.require([3])


CLIP = Vocabulary({"genre---jig": 3}, 1, {"speaker": VectorKind(1), "clip": VectorKind(2, 5.0)})


def test_vectors_are_scaled_by_the_training_tracks_norm(tmp_path):
    vectors = [{"clip": np.float32([3, 4])}, {"clip": np.float32([0, 1])}, {}]
    lengths = {"train": [20, 20, 20], "test": [20]}
    path = write_dataset(tmp_path / "tokens", lengths, vectors={"train": vectors})
    dataset = TokenDataset(path)
    vocabulary = read_vocabulary(dataset, "train", (), 1, ("clip",))
    assert vocabulary == Vocabulary(vectors={"clip": VectorKind(2, 3.60555)})  # √((25 + 1) / 2)
    assert vocabulary and not len(vocabulary)
    with pytest.raises(UserError, match="has a vector 'clap', as .*; its kinds are clip$"):
        read_vocabulary(dataset, "train", (), 1, ("clip", "clap"))
    with pytest.raises(UserError, match="'clip' of split 'test' are all zero or missing"):
        read_vocabulary(dataset, "test", (), 1, ("clip",))
    with pytest.raises(UserError, match="vectors 'clip' have 2 numbers, the model's have 3"):
        Vocabulary(vectors={"clip": VectorKind(3)}).require_widths(dataset)
    CLIP.require_widths(dataset)
    plain = write_tagged(tmp_path / "plain", [()])
    with pytest.raises(UserError, match="vector 'clip', as .*; none has vectors of any k"):
        read_vocabulary(plain, "train", (), 1, ("clip",))
    CLIP.require_widths(plain)


def test_rows_hold_vectors_and_whether_they_are_there():
    vectors_B = [{"clip": np.float32([5, -10])}, {}, {"speaker": np.ones(1), "clap": np.ones(9)}]
    condition = CLIP.condition([["genre---jig"], [], []], vectors_B=vectors_B)
    assert condition["tags"].tolist() == [[0], [1], [1]]
    assert condition["vectors"]["clip"].dtype == np.float32
    assert condition["vectors"]["clip"].tolist() == [[1, -2, 1], [0, 0, 0], [0, 0, 0]]
    assert condition["vectors"]["speaker"].tolist() == [[0, 0], [0, 0], [1, 1]]
    assert not CLIP.condition([[]])["vectors"]["clip"].any()
    assert "tags" not in Vocabulary(vectors=CLIP.vectors).condition([[]])


@pytest.mark.parametrize(
    ("vectors", "fault"),
    [
        ({"clap": [1.0, 2.0]}, "no vectors 'clap', only clip, speaker"),
        ({"clip": [1.0]}, r"'clip' is float64 of shape \(1,\): .* \(2,\) or \(3, 2\) are needed"),
        ({"clip": np.zeros((2, 2))}, r"of shape \(2, 2\)"),
        ({"clip": ["a", "b"]}, "'clip' is <U1"),
        ({"clip": [1.0, np.nan]}, "'clip' has numbers that are not finite"),
    ],
)
def test_vectors_that_do_not_fit_are_refused(vectors, fault):
    with pytest.raises(UserError, match=fault):
        CLIP.require_vectors(vectors, 3)
    with pytest.raises(UserError, match="the model knows no vectors: it was trained without"):
        KNOWN.require_vectors(vectors, 3)


def test_a_vector_is_for_all_rows_or_one():
    rows = CLIP.require_vectors({"clip": [1, 2], "speaker": [[1], [2], [3]]}, 3)
    assert [row["clip"].tolist() for row in rows] == [[1, 2]] * 3
    assert [row["speaker"].tolist() for row in rows] == [[1], [2], [3]]
    assert CLIP.require_vectors({}, 2) == [{}, {}]


def test_kinds_of_vectors_come_back_from_a_checkpoint():
    values = json.loads(json.dumps(CLIP.to_json()))
    assert Vocabulary.from_json(values) == CLIP
    assert set(KNOWN.to_json()) == {"tags", "max_tags"}  # as it was before there were vectors
    for wrong in ([1], {"clip": 3}, {"clip": {"width": 0}}, {"clip": {"width": 2, "norm": 0}}):
        with pytest.raises(ValueError, match="kinds of vectors with width and norm"):
            Vocabulary.from_json({"vectors": wrong})


def test_another_track_has_other_vectors_where_tags_are_the_same():
    one, two = ({"clip": np.float32([1, x])} for x in (1, 2))
    vectors_T = [one, two, one, two, {}]
    other_T = CLIP.of_others([()] * 5, vectors_T)
    assert all(vectors_T[i] is not vectors_T[other] for i, other in enumerate(other_T))
    assert KNOWN.of_others([()] * 5, vectors_T).tolist() == [*range(5)]  # not its affair


def test_another_tracks_tags_are_others_where_there_are_any():
    jig, reel = "genre---jig", "genre---reel"
    tags_T = [(jig,), (jig, "live"), (reel,), (), (jig,), (reel, jig), (jig, reel)] * 20
    other_T = KNOWN.of_others(tags_T, [{}] * len(tags_T))
    own_T = [KNOWN.known(tags) for tags in tags_T]
    others_T = [own_T[i] for i in other_T]
    assert all(set(other) != set(own) for other, own in zip(others_T, own_T, strict=True))
    assert set(others_T) == set(own_T)
    np.testing.assert_array_equal(KNOWN.of_others(tags_T, [{}] * len(tags_T)), other_T)
    assert KNOWN.of_others([(jig,), ("live", jig)], [{}, {}]).tolist() == [0, 1]
