"""Sets of samples, as they are read before they are judged."""

import numpy as np
import pytest

from tests.tokenizer_bridge.toy_songs import CODEC
from tokenizer_bridge.judging.measure import read_sets
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter

SAMPLED = {"checkpoint_fingerprint": "a", "length": 4}


def write(path, **origin):
    with TokenDatasetWriter(path, CODEC, origin=SAMPLED | origin) as writer:
        writer.write("generated", Record("0", np.zeros(4, np.uint16), 0.1))
    return path


@pytest.mark.parametrize("origin", [
    {"condition": 5}, {"condition": {"guidance": "x"}}, {"condition": {"guidance": 2}},
    {"length": "4"},
])  # fmt: skip
def test_samples_that_do_not_say_how_they_were_made_are_named(tmp_path, origin):
    (whole,) = read_sets([write(tmp_path / "whole")])
    assert (whole.guidance, whole.schedule, len(whole.pieces)) == (0.0, "constant", 1)
    with pytest.raises(UserError, match="bad: its dataset.json does not say how it was sampled"):
        read_sets([write(tmp_path / "bad", **origin)])
