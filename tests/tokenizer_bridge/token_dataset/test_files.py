"""Folders that are to be written to."""

import os

import pytest

from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import atomic_file, make_writable, require_folder


def test_a_folder_is_made_and_left_empty(tmp_path):
    make_writable(tmp_path / "a/b")
    assert list((tmp_path / "a/b").iterdir()) == []


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_writable(tmp_path / "file")
    real_open = os.open

    def refuse(path, flags, *more, **other):  # as for anybody but root
        if os.fspath(path).startswith(str(tmp_path)):
            raise PermissionError(13, "Permission denied", path)
        return real_open(path, flags, *more, **other)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PermissionError, match=str(tmp_path)):
        make_writable(tmp_path)


def test_a_file_is_told_from_a_folder_that_is_missing(tmp_path):
    (tmp_path / "song.ogg").touch()
    assert require_folder(tmp_path) == tmp_path
    with pytest.raises(UserError, match="song.ogg: a file, where a folder is needed"):
        require_folder(tmp_path / "song.ogg")
    with pytest.raises(UserError, match="none: no such folder"):
        require_folder(tmp_path / "none")


def test_two_writers_of_one_file_are_not_in_each_others_way(tmp_path):
    with atomic_file(tmp_path / "x") as slow:  # of machines whose processes have one number, say
        slow.write_text("slow")
        with atomic_file(tmp_path / "x") as fast:
            fast.write_text("fast")
        assert (tmp_path / "x").read_text() == "fast"
    assert (tmp_path / "x").read_text() == "slow" and len(list(tmp_path.iterdir())) == 1
