"""Wishes, and the commands that make their pieces again."""

import shlex

import pytest

from launch.playing.wishes import Source, Wish, by_category, script, tag_of
from sedd_jax import sample
from sedd_jax.errors import UserError

WISH = {"length": 512, "steps": 32, "sampler": "euler", "seed": 7}


@pytest.mark.parametrize("change, text", [
    ({"steps": 0}, "0 steps"),
    ({"seed": 2**32}, "seed 4294967296"),
    ({"tags": ("a",), "guidance": 21.0}, "guidance 21"),
    ({"sampler": "ode"}, "no sampler 'ode'"),
])  # fmt: skip
def test_what_is_out_of_range_is_refused(change, text):
    with pytest.raises(UserError, match=text):
        Wish(**WISH | change)


def test_without_tags_there_is_nothing_to_count():
    assert Wish(**WISH, guidance=3.0) == Wish(**WISH)


def test_the_command_is_one_that_the_sampler_takes():
    wish = Wish(**WISH, tags=("genre---jig", "theme---it's"), guidance=2.5)
    text = script(Source("/runs/my run", 40, "/codecs/mine"), wish, 2)
    assert "WAVS/sample-00002.wav" in text
    words = shlex.split(text.replace("\\\n", ""), comments=True)
    assert words[:3] == ["python", "-m", "sedd_jax.sample"]
    assert max(map(len, text.splitlines())) < 100
    arguments = sample.make_parser().parse_args(words[3:])
    assert (arguments.workdir, arguments.step, arguments.codec_dir) == (
        "/runs/my run", 40, "/codecs/mine",
    )  # fmt: skip
    assert (arguments.tags, arguments.guidance) == (["genre---jig", "theme---it's"], 2.5)
    assert (arguments.length, arguments.steps, arguments.seed) == (512, 32, 7)
    assert "--guidance" not in script(Source("demo"), Wish(**WISH), 0)


def test_tags_by_category():
    tags = {"mood/theme---calm": 3, "genre---jig": 2, "live": 1, "genre---air": 5}
    categories = by_category(tags)
    assert categories == {"genre": ["air", "jig"], "mood/theme": ["calm"], "tag": ["live"]}
    assert tag_of("genre", "jig", tags) == "genre---jig" and tag_of("tag", "live", tags) == "live"
