"""One dataset by many workers: shards, logs torn by kills, resuming, other settings."""

import contextlib
import errno
import fcntl
import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from tests.tokenizer_bridge.toy_songs import CODEC, contents
from tokenizer_bridge.encoding import progress_log
from tokenizer_bridge.encoding.job import EncodeJob, assemble, encode_shard, prepare_output
from tokenizer_bridge.encoding.output import Output
from tokenizer_bridge.encoding.progress_log import WorkIndex, WorkLog, settings_agree
from tokenizer_bridge.sources import folder
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.mirrors import Folder


def make_job(songs, output, **options) -> EncodeJob:
    return EncodeJob(
        output=output, source="folder", tracks=tuple(folder.tracks(songs)), codec=CODEC,
        window_s=1.0, overlap_s=0.2, **options,
    )  # fmt: skip


def run_shard(job, codec, index, count):
    prepare_output(job)
    encode_shard(job, codec, index, count, 1, lambda tracks: None, lambda seconds: None)
    return assemble(job)


def test_the_dataset_does_not_depend_on_the_shards(codec, songs, tmp_path):
    whole = run_shard(make_job(songs, tmp_path / "one"), codec, 0, 1)
    whole.verify()
    assert sum(whole.num_records(split) for split in whole.splits) == 9
    job = make_job(songs, tmp_path / "three")
    assert run_shard(job, codec, 2, 3) is None
    assert not (job.output / "dataset.json").exists()
    assert run_shard(job, codec, 0, 3) is None
    assert run_shard(job, codec, 1, 3) is not None
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_a_log_torn_anywhere_loses_and_doubles_nothing(codec, songs, tmp_path):
    job = make_job(songs, tmp_path / "whole")
    prepare_output(job)
    encode_shard(job, codec, 0, 1, 1, lambda tracks: None, lambda seconds: None)
    log = (job.unfinished / "00000-of-00001.log").read_bytes()
    assemble(job)
    flipped = bytearray(log)
    flipped[len(log) // 2] ^= 1
    cuts = np.random.default_rng(0).integers(0, len(log), 4)
    for number, damaged in enumerate([flipped, *(log[:cut] for cut in cuts)]):
        torn = make_job(songs, tmp_path / f"torn{number}")
        prepare_output(torn)
        (torn.unfinished / "00000-of-00001.log").write_bytes(damaged)
        earlier = []
        encode_shard(torn, codec, 0, 1, 1, earlier.append, lambda seconds: None)
        assert sum(earlier) == 9
        assemble(torn)
        assert contents(torn.output) == contents(job.output)


def test_resuming_with_another_number_of_shards(codec, songs, tmp_path):
    job = make_job(songs, tmp_path / "resumed")
    assert run_shard(job, codec, 1, 4) is None
    done = []
    encode_shard(job, codec, 0, 1, 1, done.append, lambda seconds: None)
    assert done[0] == 2  # what shard 1/4 had done
    assemble(job)
    run_shard(make_job(songs, tmp_path / "whole"), codec, 0, 1)
    assert contents(tmp_path / "resumed") == contents(tmp_path / "whole")


def test_workers_that_finish_at_the_same_time_all_find_the_dataset(codec, songs, tmp_path):
    job = make_job(songs, tmp_path / "out")
    first = run_shard(job, codec, 0, 1)
    second = assemble(job)  # of a worker that came too late: the logs are gone
    assert second is not None and second.splits == first.splits
    (job.output / "dataset.json").unlink()
    with pytest.raises(FileNotFoundError):
        assemble(job)


def test_a_worker_that_comes_while_another_one_assembles_finds_the_dataset(
    codec, songs, tmp_path, monkeypatch
):
    job, flock, assembled = make_job(songs, tmp_path / "out"), fcntl.flock, []
    prepare_output(job)
    encode_shard(job, codec, 0, 1, 1, lambda tracks: None, lambda seconds: None)

    def after_the_other_one(file, operation):  # has let go of the lock
        if not assembled:
            assembled.append(None)
            assembled[0] = assemble(job)
        flock(file, operation)

    monkeypatch.setattr(fcntl, "flock", after_the_other_one)
    assert prepare_output(job).splits == assembled[0].splits
    shards = {path.name for path in job.output.glob("*.array_record")}
    assert {path.name for path in job.output.iterdir()} == {
        "dataset.json", "failures.jsonl", *shards
    }  # fmt: skip
    # One that was about to open its log when the directory went.
    done = []
    encode_shard(job, codec, 0, 1, 1, done.append, lambda seconds: None)
    assert done == [9]


def test_of_two_that_begin_at_once_with_other_settings_one_is_refused(songs, tmp_path, monkeypatch):
    job = make_job(songs, tmp_path / "out")
    other = EncodeJob(job.output, "folder", job.tracks, CODEC, 2.0, 0.2)
    write, errors = progress_log.write_json_atomically, []

    def begin_other():
        try:
            prepare_output(other)
        except UserError as error:
            errors.append(str(error))

    thread = threading.Thread(target=begin_other)

    def write_slowly(*args):
        if args[1] == job.all_settings:
            thread.start()
            thread.join(0.5)
        write(*args)

    monkeypatch.setattr(progress_log, "write_json_atomically", write_slowly)
    prepare_output(job)
    thread.join()
    assert len(errors) == 1 and "another window_s (1.0 instead of 2.0)" in errors[0]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs Linux")
def test_no_file_of_the_logs_is_open_when_they_are_removed(codec, songs, tmp_path, monkeypatch):
    job, rmtree, removed = make_job(songs, tmp_path / "out"), shutil.rmtree, []

    def as_on_a_network(folder, **options):
        links = []
        for link in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # another thread has closed it
                links.append(os.readlink(link))
        assert not [link for link in links if link.startswith(f"{folder}/")]
        removed.append(folder)
        rmtree(folder, **options)

    monkeypatch.setattr(shutil, "rmtree", as_on_a_network)
    monkeypatch.setattr(progress_log, "_SYNC_EVERY_S", 0.0)
    run_shard(job, codec, 0, 1)
    assert len(removed) == 2 and not job.unfinished.exists()


def test_logs_beside_a_whole_dataset_are_removed_unless_it_grows(codec, songs, tmp_path):
    job = make_job(songs, tmp_path / "out")
    run_shard(job, codec, 0, 1)
    for left in ("unfinished", ".unfinished-1f.partial"):
        (job.output / left).mkdir()
    settings_agree(job.unfinished, job.all_settings)
    (job.unfinished / "assemble.lock").touch()
    place = Output(Folder(job.output))
    place.tidy(job)
    assert not list(job.output.glob("*unfinished*"))
    settings_agree(job.unfinished, job.all_settings | {"num_files": 10})
    place.tidy(job)
    assert (job.unfinished / "settings.json").exists()


def test_a_disk_without_locks_is_named(songs, tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(UserError, match=r"assemble.lock cannot be locked \(Function not impl"):
        prepare_output(make_job(songs, tmp_path / "out"))


def test_a_shard_belongs_to_one_process(tmp_path):
    with WorkLog(tmp_path / "x.log") as log:
        log.append(b"\x81\xa2id\xa1a")  # msgpack of {"id": "a"}
        with pytest.raises(UserError, match="another process is doing this shard"):
            WorkLog(tmp_path / "x.log", patience_s=0.0)
    assert "a" in WorkIndex(tmp_path) and "b" not in WorkIndex(tmp_path)


def test_a_shard_whose_worker_is_coming_to_its_end_is_waited_for(
    codec, songs, tmp_path, monkeypatch
):
    job, flock, refused = make_job(songs, tmp_path / "out"), fcntl.flock, []
    prepare_output(job)
    earlier = WorkLog(job.unfinished / "00000-of-00001.log")

    def end_the_earlier_one(file, operation):
        try:
            flock(file, operation)
        except BlockingIOError:
            refused.append(None)
            earlier.__exit__(None, None, None)
            if len(refused) == 2:  # the second time, with the tracks done and assembled
                assemble(job)
            raise

    monkeypatch.setattr(fcntl, "flock", end_the_earlier_one)
    done = []
    encode_shard(job, codec, 0, 1, 1, done.append, lambda seconds: None)
    assert len(refused) == 1 and sum(done) == 9
    earlier = WorkLog(job.unfinished / "00000-of-00001.log")
    encode_shard(job, codec, 0, 1, 1, done.append, lambda seconds: None)
    assert len(refused) == 2 and sum(done) == 18 and not job.unfinished.exists()


def test_other_settings_are_refused(codec, songs, tmp_path):
    job = make_job(songs, tmp_path / "out")
    run_shard(job, codec, 0, 2)
    for whole in (False, True):
        if whole:
            run_shard(job, codec, 1, 2)
        gone = (songs / "artist0/song0.wav").rename(tmp_path / "gone.wav")
        with pytest.raises(UserError, match="made with another num_files"):
            run_shard(make_job(songs, job.output), codec, 0, 2)
        gone.rename(songs / "artist0/song0.wav")
        other = EncodeJob(job.output, "folder", job.tracks, CODEC, 2.0, 0.2)
        with pytest.raises(UserError, match=r"another window_s \(1.0 instead of 2.0\)"):
            run_shard(other, codec, 0, 2)
        changed = EncodeJob(
            job.output, "folder", job.tracks, CODEC | {"weights_sha256": "cd" * 32}, 1.0, 0.2
        )
        with pytest.raises(UserError, match="another codec"):
            run_shard(changed, codec, 0, 2)
        if not whole:
            settings = (job.unfinished / "settings.json").read_text()
            for damaged in ("", "[1]"):
                (job.unfinished / "settings.json").write_text(damaged)
                with pytest.raises(UserError, match="settings.json is damaged: remove"):
                    run_shard(job, codec, 0, 2)
            (job.unfinished / "settings.json").write_text(settings)


def test_files_that_lacked_ffmpeg_are_tried_again_when_it_is_there(
    codec, songs, tmp_path, monkeypatch
):
    (songs / "x.m4a").write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
    (songs / "y.mp3").write_text("text")
    monkeypatch.setenv("PATH", "")
    job = make_job(songs, tmp_path / "out")
    prepare_output(job)
    told = []
    encode_shard(job, codec, 0, 1, 1, told.append, lambda seconds: None)
    assert sum(told) == 11 and len(WorkIndex(job.unfinished).failures) == 2
    for there, again in ((False, 0), (True, 1)):
        if there:
            (tmp_path / "ffmpeg").write_text("#!/bin/sh\nexit 1\n")
            (tmp_path / "ffmpeg").chmod(0o755)
            monkeypatch.setenv("PATH", str(tmp_path))
        told.clear()
        encode_shard(job, codec, 0, 1, 1, told.append, lambda seconds: None)
        assert told[0] == 11 - again
    assert "cannot be decoded" in WorkIndex(job.unfinished).failures["x.m4a"]["reason"]


@pytest.mark.parametrize("name", ["checkpoints", "model.safetensors"])
def test_a_model_is_not_mixed_with_tokens(songs, tmp_path, name):
    (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"run holds a model \\({name}\\): choose another"):
        prepare_output(make_job(songs, tmp_path / "run"))
    assert [path.name for path in (tmp_path / "run").iterdir()] == [name]
