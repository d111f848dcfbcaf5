"""Folders that are to be written to."""

import os

import pytest

from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import make_writable, require_folder


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
