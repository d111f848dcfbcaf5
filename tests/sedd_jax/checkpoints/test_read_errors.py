"""What stands in the way of reading a checkpoint is told from damage, and costs no checkpoint."""

import errno
import shutil
import threading
import time

import jax
import pytest

from sedd_jax.checkpoints import manager as checkpoint_lib
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.read_errors import obstacle
from sedd_jax.errors import UserError
from sedd_jax.training.setup import Job
from tests.sedd_jax.checkpoints.test_manager import (
    SHAPES,
    assert_same,
    data_file,
    directory,
    make_state,
    meta,
    read_newest,
    saved,
    truncate,
)

__all__ = ["directory", "saved"]  # fixtures


def wrapped(cause: Exception) -> Exception:
    """The error as Orbax passes on what TensorStore raises."""
    error = Exception("Encountered error while reading array index")
    error.__cause__ = cause
    return error


OBSTACLES = [
    MemoryError(),
    jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 7 bytes"),
    jax.errors.JaxRuntimeError("INTERNAL: the device is gone"),
    OSError(errno.EMFILE, "Too many open files"),
    PermissionError(errno.EACCES, "Permission denied"),
    wrapped(OSError(errno.ESTALE, "Stale file handle")),
]
DAMAGE = [
    FileNotFoundError(errno.ENOENT, "No such file"),
    KeyError("params"),
    ValueError("wrong digest"),
    wrapped(ValueError("DATA_LOSS: Error decoding manifest")),
    wrapped(ValueError("NOT_FOUND: Error reading x")),
    wrapped(ValueError("OUT_OF_RANGE: byte range [0, 9) is not valid for value of size 4")),
    wrapped(ValueError("FAILED_PRECONDITION: Truncated Zstd-compressed stream")),
]


@pytest.mark.parametrize("error", OBSTACLES, ids=repr)
def test_what_leaves_open_whether_the_file_is_whole(error, tmp_path):
    assert obstacle(error, tmp_path) is (error.__cause__ or error)


@pytest.mark.parametrize("error", DAMAGE, ids=repr)
def test_what_speaks_of_the_file(error, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("whole")
    assert obstacle(error, tmp_path) is None
    assert obstacle(error, tmp_path / "missing") is None


@pytest.mark.parametrize("error", DAMAGE, ids=repr)
def test_a_file_that_cannot_be_read_is_in_the_way_whatever_was_said(error, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "loop").symlink_to("loop")
    assert obstacle(error, tmp_path).errno == errno.ELOOP


def test_a_read_that_failed_is_tried_again(directory, monkeypatch):
    calls = []
    with Checkpoints(directory, keep_last=3) as checkpoints:
        handler = checkpoints._handlers["train"]
        restore = handler.restore

        def fail_once(*args, **kwargs):
            calls.append(args)
            if len(calls) == 1:
                raise ValueError("whatever TensorStore says of a disk that was away for a moment")
            return restore(*args, **kwargs)

        monkeypatch.setattr(handler, "restore", fail_once)
        assert_same(read_newest(checkpoints), make_state(3))
    assert len(calls) == 2 and not list(directory.glob("damaged*"))


@pytest.mark.parametrize(
    "error, said",
    [
        (OBSTACLES[1], "not enough memory to read .*/3/train: RESOURCE_EXHAUSTED.*more devices"),
        (OBSTACLES[3], "/3/train cannot be read: .*Too many open files"),
    ],
)
def test_a_failed_read_is_said_and_costs_no_checkpoint(directory, monkeypatch, error, said):
    def fail(*args, **kwargs):
        raise error

    with Checkpoints(directory, keep_last=3) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints._handlers["train"], "restore", fail)
            with pytest.raises(UserError, match=said):
                read_newest(checkpoints)
        assert_same(read_newest(checkpoints), make_state(3))


def test_a_file_that_cannot_be_opened_is_not_a_damaged_one(directory):
    for path in (directory / "3" / "train" / "ocdbt.process_0" / "d").iterdir():
        path.unlink()
        path.symlink_to(path)  # a loop, which even root cannot open
    with Checkpoints(directory, keep_last=3) as checkpoints:
        with pytest.raises(
            UserError, match="3/train cannot be read: .*Too many levels of symbolic links"
        ):
            read_newest(checkpoints)
        assert checkpoints.steps == [1, 2, 3]


def test_none_is_moved_aside_where_none_can_be_read(directory):
    for step in (1, 2, 3):
        truncate(data_file(directory, step, "train"))
    for _ in range(2):  # the same command again says the same again
        with Checkpoints(directory, keep_last=3) as checkpoints:
            with pytest.raises(UserError, match=r"none of the checkpoints \[3, 2, 1\]"):
                read_newest(checkpoints)
            assert not checkpoints.is_empty


def test_a_step_that_is_damaged_again_is_moved_aside_again(directory):
    for _ in range(3):
        truncate(data_file(directory, 3, "train"))
        with Checkpoints(directory, keep_last=3) as checkpoints:
            assert_same(read_newest(checkpoints), make_state(2))
            checkpoints.save(make_state(3), meta(3))
    names = sorted(path.name for path in directory.glob("damaged*"))
    assert names == ["damaged-3", "damaged-3-2", "damaged-3-3"]


def test_a_checkpoint_that_is_seen_late_is_waited_for(directory, monkeypatch):
    elsewhere = directory.with_name("elsewhere")
    with Checkpoints(directory, keep_last=3) as checkpoints:
        shutil.move(directory / "3", elsewhere)

        def come_late():
            time.sleep(0.3)
            shutil.move(elsewhere, directory / "3")

        thread = threading.Thread(target=come_late)
        thread.start()
        assert_same(read_newest(checkpoints), make_state(3))
        thread.join()
        shutil.move(directory / "3", elsewhere)
        monkeypatch.setattr(checkpoint_lib, "SEEN_WITHIN_S", 0.1)
        with pytest.raises(UserError, match="3 is not there, or this machine does not see it"):
            read_newest(checkpoints)
    assert not list(directory.glob("damaged*"))


@pytest.mark.parametrize("when", ["before it is read", "between its items", "half"])
def test_what_a_training_replaces_while_it_is_read(directory, when, caplog, monkeypatch):
    monkeypatch.setattr(checkpoint_lib, "SEEN_WITHIN_S", 1000.0)
    began = time.monotonic()
    with Checkpoints(directory, read_only=True) as checkpoints:
        steps = []

        def read(step):
            steps.append(step)
            if when == "before it is read":
                replace()
            found = checkpoints.read_meta(step)
            replace()
            return checkpoints.restore(found, SHAPES)

        def replace():
            if (directory / "4").exists():
                return
            with Checkpoints(directory, keep_last=1 if when != "half" else 4) as writer:
                writer.save(make_state(4), meta(4))
            if when == "half":  # of a large one not all files go at once
                shutil.rmtree(directory / "3" / "train")

        assert_same(checkpoints.newest(read), make_state(4))
        assert steps == [3, 4]
        shutil.rmtree(directory / "4")
        with pytest.raises(UserError, match="checkpoints/4 has been removed meanwhile$"):
            checkpoints.at(4, checkpoints.read_meta)
    assert "older" not in caplog.text
    assert time.monotonic() - began < 900  # nothing is waited for


def test_no_run_starts_anew_beside_damaged_checkpoints(directory, tmp_path):
    for step in (1, 2):
        shutil.rmtree(directory / str(step))
    (directory / "3").rename(directory / "damaged-3")
    job = Job(run=None, workdir=tmp_path, dataset=None, windows=None, data_fingerprint="")
    with Checkpoints(directory) as checkpoints:
        with pytest.raises(UserError, match="holds damaged checkpoints and no whole one"):
            job.start(checkpoints)
