"""The tags of samples: read from a table, drawn as a data set has them, turned into rows."""

import numpy as np
import pytest

from sedd_jax.conditions import UNCONDITIONAL, VectorKind, Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.sampling.tags import Steering, draw_tags, fingerprint, make_guide, read_table
from tests.sedd_jax.toy import CODEC
from tokenizer_bridge.token_dataset.records import Record, TokenDataset, TokenDatasetWriter

KNOWN = Vocabulary({"genre---jig": 3, "genre---Rock, Pop": 7}, max_tags=1)


def test_a_table_has_a_line_a_sample(tmp_path):
    path = tmp_path / "tags.txt"
    path.write_text('genre---jig, a---b\n\n"genre---Rock, Pop",genre---jig\n')
    assert read_table(path, 3) == [
        ["genre---jig", "a---b"],
        [],
        ["genre---Rock, Pop", "genre---jig"],
    ]
    with pytest.raises(UserError, match="has 3 lines, for 4 samples"):
        read_table(path, 4)
    with pytest.raises(UserError, match="absent.txt: No such file"):
        read_table(tmp_path / "absent.txt", 1)


def test_tags_are_drawn_as_the_data_has_them(tmp_path):
    with TokenDatasetWriter(tmp_path / "tokens", CODEC) as writer:
        for i in range(4):
            tags = ("genre---jig", "mood---sad") if i else ("genre---Rock, Pop",)
            writer.write("train", Record(str(i), np.zeros(4, np.uint16), 0.1, tags=tags))
        writer.write("test", Record("t", np.zeros(4, np.uint16), 0.1))
    dataset = TokenDataset(tmp_path / "tokens")
    drawn = draw_tags(dataset, KNOWN, 400, seed=1)
    assert set(drawn) == {("genre---jig",), ("genre---Rock, Pop",)}
    assert abs(np.mean([tags == ("genre---jig",) for tags in drawn]) - 0.75) < 0.09
    assert draw_tags(dataset, KNOWN, 7, seed=1) == drawn[:7] != draw_tags(dataset, KNOWN, 7, seed=2)
    assert fingerprint(drawn) == fingerprint([list(t) for t in drawn]) != fingerprint(drawn[:-1])


def test_tags_of_which_none_is_known_are_not_taken_for_none_asked_for(tmp_path):
    with TokenDatasetWriter(tmp_path / "tokens", CODEC) as writer:
        for tags in ((), ("mood---sad",)):
            record = Record(str(tags), np.zeros(4, np.uint16), 0.1, tags=tags)
            writer.write("train", record)
    with pytest.raises(UserError, match="no track of split 'train' has a tag that the model knows"):
        draw_tags(TokenDataset(tmp_path / "tokens"), KNOWN, 3, seed=1)


def test_a_vector_that_does_not_fit_is_named_once(tmp_path):
    model = Vocabulary(vectors={"clip": VectorKind(4)})
    path = tmp_path / "song.npy"
    for array, reason in ((np.full(4, np.nan), "are not finite"), (np.ones(5), r"shape \(5,\)")):
        np.save(path, array)
        with pytest.raises(UserError, match=reason) as error:
            Steering(vectors={"clip": path}).vectors_of(model, 2)
        assert str(error.value).startswith(str(path)) and str(error.value).count(str(path)) == 1


def test_a_guide_has_as_many_ids_a_row_on_both_sides():
    tags_N = [["genre---jig"], []]
    guide = make_guide(KNOWN, tags_N, avoid=list(KNOWN.tracks), weight=2.0, schedule="falling")
    np.testing.assert_array_equal(guide.condition["tags"], [[1, 2], [2, 2]])
    np.testing.assert_array_equal(guide.other["tags"], [[0, 1], [0, 1]])
    assert guide.weight == 2.0 and guide.schedule == "falling"
    with pytest.raises(UserError, match="no tag 'genre---jug'; the nearest: genre---jig"):
        make_guide(KNOWN, tags_N, avoid=["genre---jug"])
    with pytest.raises(UserError, match="knows no tags: it was trained without"):
        make_guide(UNCONDITIONAL, [[], []])
