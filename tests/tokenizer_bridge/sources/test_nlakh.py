"""Nlakh: single clips and mixtures, at the parent or at one of the two."""

import json
import os

import pytest

from tests.tokenizer_bridge.sources.layouts import make_nlakh
from tests.tokenizer_bridge.toy_songs import ENCODE, flags
from tokenizer_bridge.sources import load
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset

MULTI = {
    "train/000001/mix.wav": "train",
    "train/000002/mix.wav": "train",
    "valid/000001/mix.wav": "validation",
    "valid/000002/mix.wav": "validation",
}
SINGLE = {
    "train/001/0001.wav": "train",
    "train/002/0001.wav": "train",
    "valid/001/0001.wav": "validation",
    "valid/002/0001.wav": "validation",
}


def splits(directory) -> dict[str, str]:
    tracks = load("nlakh", directory)
    assert all(track.artist is None and track.path == directory / track.id for track in tracks)
    assert [track.id for track in tracks] == sorted(track.id for track in tracks)
    return {track.id: track.split for track in tracks}


def test_each_part_and_both(tmp_path):
    root = make_nlakh(tmp_path / "nlakh")
    assert splits(root / "Nlakh-multi") == MULTI
    assert splits(root / "Nlakh-single") == SINGLE
    both = {f"Nlakh-multi/{name}": split for name, split in MULTI.items()}
    both |= {f"Nlakh-single/{name}": split for name, split in SINGLE.items()}
    assert splits(root) == both
    (root / "Nlakh-multi").rename(root / "nlakh-multi")  # as the archive is called
    assert len(splits(root)) == 8 and splits(root / "nlakh-multi") == MULTI
    (root / "nlakh-multi").rename(root / "Nlakh-multi")
    for part, expected in (("Nlakh-multi", MULTI), ("Nlakh-single", SINGLE)):
        (tmp_path / "link").symlink_to(root / part)
        assert splits(tmp_path / "link") == expected
        (tmp_path / "link").unlink()
        (root / part).rename(tmp_path / "renamed")
        assert splits(tmp_path / "renamed") == expected
        (tmp_path / "renamed").rename(root / part)


def test_one_split_alone_and_stray_files(tmp_path):
    root = make_nlakh(tmp_path) / "Nlakh-multi"
    (root / "valid").rename(tmp_path / "elsewhere")
    (root / "train/readme.txt").write_text("")
    (root / "train/.hidden").mkdir()
    assert set(splits(root).values()) == {"train"}
    (tmp_path / "Nlakh-single/train/001/._0001.wav").write_bytes(b"")
    assert splits(tmp_path / "Nlakh-single") == SINGLE


def test_what_is_not_nlakh_is_refused(tmp_path):
    (tmp_path / "Nlakh-single").mkdir()
    for directory in (tmp_path, tmp_path / "no"):
        with pytest.raises(UserError, match="not Nlakh: it holds neither Nlakh-single nor"):
            load("nlakh", directory)


def test_the_command_lists_songs_without_a_mixture(tmp_path, codec_dir, run_command):
    root = make_nlakh(tmp_path / "nlakh") / "Nlakh-multi"
    (root / "train/000002/mix.wav").unlink()
    outcome = run_command(ENCODE, *flags(root, tmp_path / "out", codec_dir, "--source=nlakh"))
    assert outcome.code == 0, outcome.err
    (entry,) = map(json.loads, (tmp_path / "out/failures.jsonl").read_text().splitlines())
    assert entry["id"] == "train/000002/mix.wav" and entry["reason"].startswith("missing")
    dataset = TokenDataset(tmp_path / "out")
    assert {split: dataset.num_records(split) for split in dataset.splits} == {
        "train": 1, "validation": 2
    }  # fmt: skip


def test_names_that_are_no_text(tmp_path):
    root = make_nlakh(tmp_path) / "Nlakh-single"
    (root / "train/001" / os.fsdecode(b"\xff.wav")).touch()
    assert "train/001/\\xff.wav" in [track.id for track in load("nlakh", root)]
