"""Pieces: which stretches of which tracks, and the names that their tags give."""

import numpy as np
import pytest

from tests.tokenizer_bridge.judging.toy_tokens import write_dataset
from tokenizer_bridge.judging.pieces import categories_in, name_of, names_in, read_pieces
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record, TokenDataset


def dataset(path, lengths=(5, 10, 15)):
    records = [
        Record(f"{n}", np.arange(n).astype(np.uint16), 1.0, None, (f"key---{n}", "mode---major"))
        for n in lengths
    ]
    return TokenDataset(write_dataset(path, {"train": records}))


def test_a_piece_is_the_middle_of_a_track_and_short_tracks_have_none(tmp_path):
    pieces = read_pieces(dataset(tmp_path), ["train"], 8)
    assert [piece.id for piece in pieces] == ["10", "15"]
    np.testing.assert_array_equal(pieces[0].tokens_L, np.arange(1, 9))
    np.testing.assert_array_equal(pieces[1].tokens_L, np.arange(3, 11))


def test_fewer_pieces_are_spread_over_all(tmp_path):
    pieces = read_pieces(dataset(tmp_path, range(10, 21)), ["train"], 8, most=3)
    assert [piece.id for piece in pieces] == ["10", "15", "20"]


def test_without_a_track_long_enough_the_length_is_named(tmp_path):
    with pytest.raises(UserError, match="no track of train has the 16 tokens"):
        read_pieces(dataset(tmp_path), ["train"], 16)


def test_a_name_is_that_of_the_one_tag_of_a_category():
    assert name_of(("key---A", "mode---minor"), "mode") == "minor"
    assert name_of(("genre---rock", "genre---pop"), "genre") is None  # which would be asked for?
    assert name_of(("key---A", "monkey---x"), "onkey") is None
    assert name_of((), "mode") is None


def test_names_and_categories_of_pieces(tmp_path):
    pieces = read_pieces(dataset(tmp_path), ["train"], 1)
    assert categories_in(pieces) == ["key", "mode"]
    assert names_in(pieces, "mode", 3) == ["major"]
    assert names_in(pieces, "mode", 4) == []
