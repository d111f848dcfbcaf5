"""Copies of folders in an object store; fsspec's own in memory stands for it."""

import os
import subprocess
import sys

import fsspec
import pytest

from tokenizer_bridge.token_dataset import mirrors
from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.mirrors import Mirror, file_at, folder_at, new_folder

URL = "memory://bucket/new"


@pytest.fixture
def done(monkeypatch):
    """The changes that are made in an empty bucket, in order."""
    done = []
    upload, remove = Bucket.upload, Bucket.remove

    def note_upload(self, path, name):
        done.append(f"+{name}")
        upload(self, path, name)

    def note_remove(self, names):
        done.extend(f"-{name}" for name in names)
        remove(self, names)

    monkeypatch.setattr(Bucket, "upload", note_upload)
    monkeypatch.setattr(Bucket, "remove", note_remove)
    yield done
    memory = fsspec.filesystem("memory")
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)


def test_the_marker_speaks_of_what_is_there(done):
    folder = Mirror(URL)
    for name in ("whole.json", "part", "shard"):
        (folder.path / name).write_text(name)
    (folder.path / ".shard.7.partial").write_text("half")
    folder.push("whole.json")
    assert sorted(done[:2]) == ["+part", "+shard"] and done[2:] == ["+whole.json"]
    done.clear()
    folder.push("whole.json")
    assert not done

    again = Mirror(URL)
    again.fetch(again.names())
    (again.path / "part").unlink()
    (again.path / "shard").write_text("another")
    (again.path / "whole.json").write_text("other")
    again.push("whole.json")
    assert done == ["-whole.json", "+shard", "+whole.json", "-part"]
    assert Bucket(URL).names() == ["shard", "whole.json"]


def test_a_new_folder_is_copied_when_it_is_whole(done):
    with pytest.raises(UserError, match=f"^{URL}/x is wrong$"):
        with new_folder(URL, "last") as path:
            (path / "x").write_text("")
            raise UserError(f"{path / 'x'} is wrong")
    assert not done
    with new_folder(URL, "last") as path:
        for name in ("last", "x"):
            (path / name).write_text("")
    assert done == ["+x", "+last"]
    with pytest.raises(UserError, match=f"^{URL} exists and is not an empty folder"):
        with new_folder(URL, "last"):
            pass


def test_a_file_is_copied_when_it_is_written(done, tmp_path):
    with file_at(f"{URL}/page.html") as path:
        path.write_text("page")
    assert done[-1] == "+page.html" and Bucket(URL).read("page.html") == b"page"
    with file_at(tmp_path / "x") as path:
        assert path == tmp_path / "x"


def test_a_folder_of_this_machine_is_itself(tmp_path):
    folder = folder_at(tmp_path)
    (tmp_path / "x").write_text("")
    folder.push()
    folder.hand_over(tmp_path / "x")
    assert folder.path == tmp_path and (tmp_path / "x").exists() and not folder.names()


def test_copies_go_with_their_process_and_those_of_killed_ones_with_the_next(tmp_path, monkeypatch):
    make = "from tokenizer_bridge.token_dataset.mirrors import Mirror; Mirror('memory://b/x'); "
    for end, left in (("", 0), ("import os; os._exit(9)", 1), ("", 0)):
        subprocess.run(
            [sys.executable, "-c", make + end], env={"TMPDIR": str(tmp_path)}, check=False
        )
        assert len(list(tmp_path.iterdir())) == left
    monkeypatch.setattr(mirrors.tempfile, "tempdir", str(tmp_path))
    mine = Mirror(URL)
    # The locks of another machine that has its temporary files on the same disk are not seen.
    host = os.uname().nodename
    others = [tmp_path / f"sedd_music-{os.getuid()}-{name}-1a2b3c4d" for name in ("x", f"{host}-x")]
    for folder in others:
        folder.mkdir()
    subprocess.run([sys.executable, "-c", make], env={"TMPDIR": str(tmp_path)}, check=True)
    assert mine.path.is_dir() and all(folder.is_dir() for folder in others)


@pytest.mark.parametrize("when", ["before it is opened", "before it is locked"])
def test_a_new_folder_that_another_process_takes_for_a_leftover(when, tmp_path, monkeypatch):
    monkeypatch.setattr(mirrors.tempfile, "tempdir", str(tmp_path))
    owner = mirrors.tempfile if when == "before it is opened" else mirrors.os
    name = "mkdtemp" if when == "before it is opened" else "open"
    call, taken = getattr(owner, name), []

    def and_then_it_goes(*args, **options):
        result = call(*args, **options)
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].rmdir()
        return result

    monkeypatch.setattr(owner, name, and_then_it_goes)
    folder = mirrors.temporary_folder("song")
    assert taken and list(tmp_path.iterdir()) == [folder.parent] != taken
    assert folder.is_dir() and not list(folder.iterdir())
    # It is known to be in use: another process leaves it where it is.
    make = "from tokenizer_bridge.token_dataset.mirrors import Mirror; Mirror('memory://b/x')"
    subprocess.run([sys.executable, "-c", make], env={"TMPDIR": str(tmp_path)}, check=True)
    assert folder.is_dir()
