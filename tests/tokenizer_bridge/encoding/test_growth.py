"""Data sets into which more files are encoded: what is new, and nothing of what was there."""

import shutil

import numpy as np
import pytest
import soundfile

from tests.tokenizer_bridge.encoding.test_job import make_job, run_shard
from tests.tokenizer_bridge.toy_songs import ENCODE, contents, flags, music
from tokenizer_bridge.encoding import growth
from tokenizer_bridge.encoding.job import assemble, encode_shard, prepare_output
from tokenizer_bridge.encoding.vectors import find_vectors
from tokenizer_bridge.sources.splits import assign_splits
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset


def splits_of(dataset: TokenDataset) -> dict[str, str]:
    return {record.id: split for split in dataset.splits for record in dataset.records(split)}


def add(songs, name: str, seed: int) -> None:
    (songs / name).parent.mkdir(exist_ok=True)
    soundfile.write(songs / name, music(0.5, seed), 24000)


def test_only_new_files_are_encoded_and_old_ones_stay_where_they_were(codec, songs, tmp_path):
    (songs / "bad.mp3").write_text("text")
    before = run_shard(make_job(songs, tmp_path / "out"), codec, 0, 1)
    old = splits_of(before)
    tokens = {r.id: r.tokens for split in before.splits for r in before.records(split)}
    add(songs, "artist1/new.wav", 20)
    add(songs, "another/new.wav", 21)
    shutil.copy(songs / "artist2/song2.wav", songs / "a copy.wav")
    job = make_job(songs, tmp_path / "out")
    assert prepare_output(job) is None
    assert splits_of(TokenDataset(job.output)) == old  # there, until the new one is
    told = []
    encode_shard(job, codec, 0, 1, 1, told.append, lambda seconds: None)
    assert told == [10, 1, 1, 1]
    after = assemble(job)
    after.verify()
    assert not job.unfinished.exists() and prepare_output(job) is not None
    new = splits_of(after)
    assert old.items() < new.items() and len(new) == 12
    assert new["artist1/new.wav"] == old["artist1/song1.wav"]
    assert new["a copy.wav"] == old["artist2/song2.wav"]
    for split in after.splits:
        for record in after.records(split):
            if record.id in tokens:
                np.testing.assert_array_equal(record.tokens, tokens[record.id])
    assert b"bad.mp3" in contents(job.output)["failures.jsonl"]


def test_grown_or_encoded_anew_is_the_same(codec, songs, tmp_path):
    """A division where no exception for small sets applies, as with way none."""
    run_shard(make_job(songs, tmp_path / "grown", splits="none"), codec, 0, 1)
    add(songs, "new.wav", 20)
    for name in ("grown", "anew"):
        run_shard(make_job(songs, tmp_path / name, splits="none"), codec, 0, 1)
    assert contents(tmp_path / "grown") == contents(tmp_path / "anew")


def test_a_file_that_changed_is_not_taken_for_what_it_was(codec, songs, tmp_path):
    run_shard(make_job(songs, tmp_path / "out"), codec, 0, 1)
    whole = contents(tmp_path / "out")
    add(songs, "new.wav", 20)
    soundfile.write(songs / "artist0/song0.wav", music(0.7, 30), 24000)
    with pytest.raises(UserError, match="made with another files_sha256"):
        run_shard(make_job(songs, tmp_path / "out"), codec, 0, 1)
    assert contents(tmp_path / "out") == whole


def test_killed_at_any_point_it_goes_on(codec, songs, tmp_path, monkeypatch):
    run_shard(make_job(songs, tmp_path / "out"), codec, 0, 1)
    shutil.copytree(tmp_path / "out", tmp_path / "undisturbed")
    add(songs, "new.wav", 20)
    run_shard(make_job(songs, tmp_path / "undisturbed"), codec, 0, 1)
    job = make_job(songs, tmp_path / "out")

    def killed(*arguments):
        raise KeyboardInterrupt

    for place, name in (
        (growth, "write_json_atomically"),  # while the old one is kept
        (shutil, "move"),  # while the new one is put in its place
    ):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(place, name, killed)
            run_shard(job, codec, 0, 1)
    run_shard(job, codec, 0, 1)
    assert contents(tmp_path / "out") == contents(tmp_path / "undisturbed")


def test_vectors_of_what_was_there_must_be_the_same(codec, songs, tmp_path):
    for path in songs.rglob("*.wav"):
        np.save(path.with_suffix(".npy"), np.ones(3, np.float32))

    def job():
        plain = make_job(songs, tmp_path / "out")
        return make_job(songs, plain.output, vectors=find_vectors(plain.tracks, {"clip": songs}))

    run_shard(job(), codec, 0, 1)
    add(songs, "new.wav", 20)
    np.save(songs / "new.npy", np.full(3, 2, np.float32))
    dataset = run_shard(job(), codec, 0, 1)
    vectors = {r.id: r.vectors["clip"][0] for s in dataset.splits for r in dataset.records(s)}
    assert vectors["new.wav"] == 2 and vectors["artist0/song0.wav"] == 1
    add(songs, "newer.wav", 21)
    np.save(songs / "newer.npy", np.zeros(3, np.float32))
    np.save(songs / "new.npy", np.zeros(3, np.float32))
    with pytest.raises(UserError, match="made with another vectors"):
        run_shard(job(), codec, 0, 1)


def test_few_songs_that_become_many_keep_their_ends(codec_dir, tmp_path, run_command):
    (tmp_path / "in").mkdir()
    arguments = flags(tmp_path / "in", tmp_path / "out", codec_dir)
    for count in (2, 6):
        for i in range(count):
            add(tmp_path / "in", f"{i}.wav", i)
        outcome = run_command(ENCODE, *arguments)
        assert outcome.code == 0, outcome.err
        assert f"tracks: train {count}, validation {count}" in outcome.out
    assert "adds 4 files to the data set that is there" in outcome.out
    ends = TokenDataset(tmp_path / "out").records("validation")
    assert {record.source["first_token"] for record in ends} == {1125}


def test_new_tracks_go_with_their_audio_then_with_their_artist():
    kept = {"a1": "validation", "a2": "train", "a3": "train", "b1": "test"}
    artists = {"a1": "a", "a2": "a", "a3": "a", "b1": "b", "a4": "a", "a5": "a", "b2": "b"}
    contents = {track: track for track in artists} | {"a5": "a1"}
    artists |= {"c": "artist19", "d": "track4"}
    splits = assign_splits(artists, contents, kept)
    assert splits == kept | {
        "a4": "train", "a5": "validation", "b2": "test", "c": "validation", "d": "train",
    }  # fmt: skip
