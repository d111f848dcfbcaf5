"""Ways of dividing few tracks and many, and tracks that are divided in themselves."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from tests.tokenizer_bridge.toy_songs import ENCODE, assert_one_line_error, flags, music
from tokenizer_bridge.encoding.division import divide
from tokenizer_bridge.sources import Track
from tokenizer_bridge.sources.splits import assign_splits, end_of_track
from tokenizer_bridge.token_dataset.records import Record, TokenDataset


def tracks_of(count: int, split: str | None = None) -> list[Track]:
    return [Track(f"{i % 3}/{i}", f"{i}", f"artist{i % 3}", split=split) for i in range(count)]


@pytest.mark.parametrize(
    ("count", "whole"),
    [
        (1, {"train": 1}),
        (2, {"train": 2}),
        (3, {"train": 3}),
        (4, {"train": 4}),
        (5, {"train": 3, "validation": 1, "test": 1}),
        (10, {"train": 8, "validation": 1, "test": 1}),
    ],
)
def test_few_songs_are_all_learnt_from(count, whole):
    songs = [Track(f"{i}.wav", f"{i}.wav") for i in range(count)]
    division = divide(songs, {song.id: song.id for song in songs}, None)
    splits = list(division.splits.values())
    assert {split: splits.count(split) for split in set(splits)} == whole
    record = Record("0.wav", np.arange(1000, dtype=np.uint16), 100.0)
    parts = dict(division.parts(record))
    assert ("validation" in parts and "train" in parts) == (count < 5)
    assert division.origin == ({"splits": "within_track"} if count < 5 else {})


def test_what_the_way_means():
    tracks = tracks_of(30)
    contents = {track.id: track.id for track in tracks}
    artists = {track.id: track.artist for track in tracks}
    assert divide(tracks, contents, None).splits == assign_splits(artists, contents)
    assert divide(tracks, contents, "by_artist").splits == assign_splits(artists, contents)
    by_track = divide(tracks, contents, "by_track").splits
    assert by_track == assign_splits(dict.fromkeys(artists), contents)
    assert by_track != assign_splits(artists, contents)
    assert set(divide(tracks, contents, "none").splits.values()) == {"train"}
    official = divide(tracks_of(2, "test"), contents, None)
    assert set(official.splits.values()) == {"test"}  # few as they are
    assert set(divide(tracks_of(30, "test"), contents, "none").splits.values()) == {"train"}


def test_the_end_of_a_track_is_a_tenth_and_long_enough_to_measure():
    assert end_of_track(13_500, 180.0) == 1_350
    assert end_of_track(4_500, 60.0) == 1_125  # 15 s
    assert end_of_track(750, 10.0) == 188  # a quarter
    assert [end_of_track(n, n / 75) for n in (1, 2)] == [0, 1]


def test_the_parts_of_a_track_are_the_track():
    record = Record("a", np.arange(2000, dtype=np.uint16), 20.0, source={"file": "a.wav"})
    parts = dict(divide([Track("a", "a")], {"a": "a"}, None).parts(record))
    train, end = parts["train"], parts["validation"]
    np.testing.assert_array_equal(np.concatenate([train.tokens, end.tokens]), record.tokens)
    assert train.duration_s + end.duration_s == pytest.approx(20.0)
    assert train.source == record.source
    assert end.source == {"file": "a.wav", "first_token": len(train.tokens)}
    assert train.id == end.id == "a"


def test_three_songs_by_the_command(codec_dir, tmp_path, run_command):
    (tmp_path / "in").mkdir()
    for i in range(2):
        soundfile.write(tmp_path / f"in/{i}.wav", music(1.0, i), 24000)
    shutil.copy(tmp_path / "in/1.wav", tmp_path / "in/2.wav")
    arguments = flags(tmp_path / "in", tmp_path / "out", codec_dir)
    outcome = run_command(ENCODE, *arguments)
    assert outcome.code == 0, outcome.err
    assert "tracks: train 3, validation 3\nvalidation is the end of every track" in outcome.out
    assert "1 track is a copy of others" in outcome.out
    dataset = TokenDataset(tmp_path / "out")
    assert list(dataset.lengths("train")) == [2250] * 3
    assert json.loads((tmp_path / "out/dataset.json").read_text())["origin"]["splits"]
    for same in ([], ["--splits=within_track"]):
        outcome = run_command(ENCODE, *arguments, *same)
        assert same or outcome.out.startswith("whole already"), outcome.err
    assert outcome.out.startswith("whole already")
    outcome = run_command(ENCODE, *arguments, "--splits=none")
    assert_one_line_error(outcome, "made with another splits (within_track instead of none)")
    arguments = flags(tmp_path / "in", tmp_path / "all", codec_dir, "--splits=none")
    outcome = run_command(ENCODE, *arguments)
    assert "tracks: train 3\n" in outcome.out and "too few" not in outcome.out
