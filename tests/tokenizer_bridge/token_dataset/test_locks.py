"""Folders that one process at a time may work in."""

import errno
import gc
import os

import pytest

from tokenizer_bridge.token_dataset import locks
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.locks import alone_in


def test_a_second_one_waits_and_is_refused(tmp_path):
    with alone_in(tmp_path, "taken"):
        with pytest.raises(UserError, match="^taken$"), alone_in(tmp_path, "taken", 0.1):
            raise AssertionError("both were let in")
    with alone_in(tmp_path, "taken", 0.0):  # the first is done
        pass


def test_a_new_folder_goes_unless_something_was_put_there(tmp_path):
    with alone_in(tmp_path / "a/new", "taken"):
        assert (tmp_path / "a/new").is_dir()
    assert not (tmp_path / "a/new").exists()
    with alone_in(tmp_path / "a/new", "taken"):
        (tmp_path / "a/new/file").touch()
    with alone_in(tmp_path / "a", "taken"):
        pass
    assert (tmp_path / "a/new/file").exists()


def test_a_folder_that_went_before_it_was_locked_is_made_again(tmp_path, monkeypatch):
    folder, flock, gone = tmp_path / "new", locks.fcntl.flock, []

    def take_its_time(descriptor, operation):
        if not gone:
            gone.append(folder.rmdir())
        flock(descriptor, operation)

    monkeypatch.setattr(locks.fcntl, "flock", take_its_time)
    gc.collect()  # what other tests have left open is not to be closed meanwhile
    num_open = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    with alone_in(folder, "taken"):
        assert gone and folder.is_dir()
        with pytest.raises(UserError), alone_in(folder, "taken", 0.0):
            raise AssertionError("the lock is on the folder that has gone")
    if num_open is not None:
        assert len(os.listdir("/proc/self/fd")) == num_open


def test_a_disk_without_locks_is_worked_on(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with alone_in(tmp_path, "taken", 0.0), alone_in(tmp_path, "taken", 0.0):
        pass
