"""Tracks of a folder: found in a fixed order, each once, whatever else lies there."""

import os

import pytest

from tokenizer_bridge.sources import fingerprint, folder
from tokenizer_bridge.token_dataset.errors import UserError


def make_files(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def test_order_ids_and_artists(tmp_path):
    make_files(tmp_path, "b/y.flac", "b/Album/x.MP3", "a/z.ogg", "lone.wav", "b-side/w.opus")
    tracks = folder.tracks(tmp_path)
    assert [(track.id, track.artist) for track in tracks] == [
        ("a/z.ogg", "a"),
        ("b-side/w.opus", "b-side"),
        ("b/Album/x.MP3", "b"),
        ("b/y.flac", "b"),
        ("lone.wav", None),
    ]
    assert all(track.path == tmp_path / track.id for track in tracks)


def test_ids_do_not_depend_on_where_the_folder_is(tmp_path, monkeypatch):
    make_files(tmp_path, "here/a/x.wav")
    monkeypatch.chdir(tmp_path)
    assert folder.tracks("here")[0].id == folder.tracks(tmp_path / "here")[0].id == "a/x.wav"
    assert fingerprint(folder.tracks("here")) == fingerprint(folder.tracks(tmp_path / "here"))


def test_hidden_and_other_files_are_passed_over(tmp_path):
    make_files(tmp_path, "x.wav", "._x.wav", ".trash/y.wav", "cover.jpg", "notes.txt", "bare")
    assert [track.id for track in folder.tracks(tmp_path)] == ["x.wav"]


def test_audio_that_soundfile_cannot_read_is_not_passed_over(tmp_path):
    make_files(tmp_path, "x.m4a")
    assert [track.id for track in folder.tracks(tmp_path)] == ["x.m4a"]


def test_links(tmp_path):
    make_files(tmp_path, "in/a/x.wav", "in/a/y.wav", "outside/z.wav")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    (tmp_path / "in/b").symlink_to(tmp_path / "outside")
    (tmp_path / "in/twice.wav").symlink_to(tmp_path / "in/a/x.wav")
    (tmp_path / "in/broken.wav").symlink_to(tmp_path / "nowhere.wav")
    (tmp_path / "in/self.wav").symlink_to(tmp_path / "in/self.wav")
    ids = [track.id for track in folder.tracks(tmp_path / "in")]
    assert ids == ["a/x.wav", "a/y.wav", "b/z.wav", "broken.wav", "self.wav"]


def test_a_name_that_is_no_text(tmp_path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.wav", "wb"):
        pass
    (track,) = folder.tracks(tmp_path)
    assert track.id == "caf\\xe9.wav"
    assert track.path.exists()


def test_no_audio_is_one_clear_line(tmp_path):
    make_files(tmp_path, "notes.txt")
    for path, reason in ((tmp_path, "no audio files in it"), (tmp_path / "no", "no such folder")):
        with pytest.raises(UserError) as caught:
            folder.tracks(path)
        assert str(caught.value).startswith(f"{path}: {reason}")


def test_the_fingerprint_notices_changes(tmp_path):
    make_files(tmp_path, "a/x.wav", "a/y.wav")
    before = fingerprint(folder.tracks(tmp_path))
    assert fingerprint(folder.tracks(tmp_path)) == before
    (tmp_path / "a/x.wav").write_bytes(b"longer than before")
    changed = fingerprint(folder.tracks(tmp_path))
    (tmp_path / "a/x.wav").unlink()
    assert len({before, changed, fingerprint(folder.tracks(tmp_path))}) == 3


def test_a_single_file_is_a_track(tmp_path):
    (tmp_path / "Song.MP3").write_text("")
    (tmp_path / "other.mp3").write_text("")
    (track,) = folder.tracks(tmp_path / "Song.MP3")
    assert (track.id, track.path, track.artist) == ("Song.MP3", tmp_path / "Song.MP3", None)
