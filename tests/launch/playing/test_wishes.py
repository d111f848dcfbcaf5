"""Wishes that make sense, and tags by category."""

import pytest

from launch.playing.wishes import Wish, by_category, tag_of
from sedd_jax.errors import UserError

WISH = {"length": 512, "steps": 32, "sampler": "euler", "seed": 7}


@pytest.mark.parametrize("change, text", [
    ({"steps": 0}, "0 steps"),
    ({"seed": 2**32}, "seed 4294967296"),
    ({"tags": ("a",), "guidance": 21.0}, "guidance 21"),
    ({"temperature": 0.0}, "temperature 0 "),
    ({"top_p": 1.5}, "top-p 1.5"),
    ({"sampler": "ode"}, "no sampler 'ode'"),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(change, text):
    with pytest.raises(UserError, match=text):
        Wish(**WISH | change)


def test_without_tags_there_is_nothing_to_count():
    assert Wish(**WISH, guidance=3.0) == Wish(**WISH)


def test_tags_by_category():
    tags = {"mood/theme---calm": 3, "genre---jig": 2, "live": 1, "genre---air": 5}
    categories = by_category(tags)
    assert categories == {"genre": ["air", "jig"], "mood/theme": ["calm"], "tag": ["live"]}
    assert tag_of("genre", "jig", tags) == "genre---jig" and tag_of("tag", "live", tags) == "live"
