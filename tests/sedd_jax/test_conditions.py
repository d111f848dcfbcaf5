"""The vocabulary of tags: what is in it, how rows are told, what an unknown tag is answered."""

import numpy as np
import pytest

from sedd_jax.conditions import UNCONDITIONAL, Vocabulary, read_vocabulary
from sedd_jax.errors import UserError
from tests.sedd_jax.toy import CODEC
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
    with pytest.raises(UserError, match="category genre .*min_tracks 3 .*the most frequent has 2$"):
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


def test_another_tracks_tags_are_others_where_there_are_any():
    jig, reel = "genre---jig", "genre---reel"
    tags_T = [(jig,), (jig, "live"), (reel,), (), (jig,), (reel, jig), (jig, reel)] * 20
    others_T = KNOWN.of_others(tags_T)
    own_T = [KNOWN.known(tags) for tags in tags_T]
    assert all(set(other) != set(own) for other, own in zip(others_T, own_T, strict=True))
    assert set(others_T) == set(own_T) and others_T == KNOWN.of_others(tags_T)
    assert KNOWN.of_others([(jig,), ("live", jig)]) == [(jig,), (jig,)]
