"""Arguments of a report: names, sources and values that differ between references."""

import pytest
import torch

from tokenizer_bridge.fad.embeddings import untrained_embedding
from tokenizer_bridge.reporting.arguments import (
    Reference,
    parse_paths,
    parse_per_name,
    parse_references,
)
from tokenizer_bridge.token_dataset.errors import UserError


def test_a_references_source_is_detected_or_said(tmp_path):
    (tmp_path / "mine").mkdir()
    clip = tmp_path / "nlakh/Nlakh-multi/train/000001/mix.wav"
    clip.parent.mkdir(parents=True)
    clip.touch()
    root = str(tmp_path)
    assert parse_references([f"a={root}/mine", f"b={root}/nlakh", f"c=folder:{root}/nlakh"]) == [
        Reference("a", "folder", f"{root}/mine"),
        Reference("b", "nlakh", f"{root}/nlakh"),
        Reference("c", "folder", f"{root}/nlakh"),
    ]


@pytest.mark.parametrize(("values", "text"), [
    (["jamendo"], "^jamendo: write NAME=DIR"),
    (["=x"], "write NAME=DIR"),
    (["a b={}"], "write NAME=DIR"),
    (["a={}", "a={}"], "'a' is taken"),
    (["generated={}"], "'generated' is taken"),
    (["a={}/none"], "no such folder"),
    (["a=folder:{}/none"], "no such folder"),
])  # fmt: skip
def test_references_that_are_refused(tmp_path, values, text):
    with pytest.raises(UserError, match=text):
        parse_references([value.format(tmp_path) for value in values])


def test_values_for_all_and_for_one():
    defaults = {"generated": 10.0, "jamendo": 10.0, "nlakh": 4.9}
    assert parse_per_name(["8", "nlakh=5"], defaults, 0.1) == {
        "generated": 8.0, "jamendo": 8.0, "nlakh": 5.0,
    }  # fmt: skip
    assert parse_per_name(["8"], defaults, 0.1)["nlakh"] == 8.0
    assert parse_per_name(["jamendo=3"], defaults, 0.1) == defaults | {"jamendo": 3.0}


def test_clips_of_nlakh_are_shorter_and_hold_five_windows_of_vggish():
    assert Reference("mine", "folder", "music").clip_s == 10
    clip_s = Reference("multi", "nlakh", "Nlakh-multi").clip_s
    vggish = untrained_embedding("vggish")
    clip_1xT = torch.zeros(1, round(clip_s * vggish.info.sample_rate))
    assert vggish.embed(clip_1xT).shape[1] == 5
    assert clip_s < 5


def test_paths_by_name():
    assert parse_paths(["a=x=y.tsv"], ["a", "b"]) == {"a": "x=y.tsv"}
    for value in ("a.tsv", "a=", "c=x.tsv"):
        with pytest.raises(UserError, match=f"^{value}: write NAME=PATH, NAME one of a"):
            parse_paths([value], ["a", "b"])


@pytest.mark.parametrize(("value", "text"), [
    ("ten", "^ten: a whole number is needed"),
    ("0.5", "a whole number is needed"),
    ("0", "of at least 1"),
    ("other=3", "no set is called 'other', only a, b"),
    ("a=", "a whole number is needed"),
    ("1" + 400 * "0", "of at least 1 is needed, below 1e"),
])  # fmt: skip
def test_values_that_are_refused(value, text):
    with pytest.raises(UserError, match=text):
        parse_per_name([value], {"a": 1, "b": 1}, 1)
    with pytest.raises(UserError, match="of at least"):
        parse_per_name(["nan"], {"a": 1.0, "b": 1.0}, 0.1)
