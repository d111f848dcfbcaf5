"""Data sets that are made in an object store; fsspec's in memory and on disk stand for it."""

import contextlib
import json
import time

import fsspec
import pytest
import soundfile

from tests.tokenizer_bridge.encoding.test_job import make_job
from tests.tokenizer_bridge.toy_songs import contents, flags, kill_until_done, music
from tokenizer_bridge.encoding import output
from tokenizer_bridge.encoding.job import encode_shard, prepare_output
from tokenizer_bridge.jobs.encode import encode
from tokenizer_bridge.sources import folder
from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset

URL = "memory://bucket/tokens"
ENCODE_OFTEN = "tests.tokenizer_bridge.encode_often"


@pytest.fixture
def store():
    yield Bucket(URL)
    memory = fsspec.filesystem("memory")
    if memory.exists("/bucket"):
        memory.rm("/bucket", recursive=True)


@pytest.fixture
def make(codec_dir):
    """Encodes songs into a place, as the command does."""

    def make(songs, place, **options):
        options = {"codec": "toy", "codec_dir": str(codec_dir), "window_s": 1.0} | options
        return encode(folder.tracks(songs), place, overlap_s=0.2, **options)

    return make


def stored(store) -> dict[str, bytes]:
    return {name: store.read(name) for name in store.names()}


@contextlib.contextmanager
def stopping_after(number: int):
    """The encoding inside is stopped by Ctrl-C after so many tracks."""

    def encode_shard_in_part(job, codec, index, count, batch_size, on_tracks, on_audio):
        left = number

        def stop(more):
            nonlocal left
            left -= more
            on_tracks(more)
            if left <= 0:
                raise KeyboardInterrupt

        encode_shard(job, codec, index, count, batch_size, stop, on_audio)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tokenizer_bridge.jobs.encode.encode_shard", encode_shard_in_part)
        yield


def test_what_is_stored_is_what_a_disk_would_hold(make, songs, tmp_path, store, capsys):
    make(songs, tmp_path / "here")
    make(songs, URL)
    assert stored(store) == contents(tmp_path / "here")
    assert f"{URL}: 0.2 min of audio" in capsys.readouterr().out
    make(songs, URL)
    assert f"whole already, nothing to do: {URL}" in capsys.readouterr().out
    with pytest.raises(UserError, match=f"^{URL} was made with another window_s"):
        make(songs, URL, window_s=2.0)


def test_a_job_that_was_stopped_goes_on_elsewhere(make, songs, tmp_path, store, monkeypatch):
    make(songs, tmp_path / "here")
    with stopping_after(4):
        make(songs, URL)
    assert "dataset.json" not in store.names() and "unfinished/settings.json" in store.names()
    with pytest.raises(UserError, match=f"^{URL}/unfinished was made with another window_s"):
        make(songs, URL, window_s=2.0)
    told = []

    def count(job, codec, index, num, batch_size, on_tracks, on_audio):
        encode_shard(job, codec, index, num, batch_size, told.append, on_audio)

    monkeypatch.setattr("tokenizer_bridge.jobs.encode.encode_shard", count)
    make(songs, URL)
    assert told[0] == 4 and sum(told) == 9
    assert stored(store) == contents(tmp_path / "here")


def test_several_machines_share_the_work(make, songs, tmp_path, store):
    make(songs, tmp_path / "here")

    def encode_shard_while_another_does_its_own(*arguments):
        patch.undo()
        assert make(songs, URL, shard=(0, 2)) is None  # it ends before this one
        encode_shard(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        name = "tokenizer_bridge.jobs.encode.encode_shard"
        patch.setattr(name, encode_shard_while_another_does_its_own)
        assert make(songs, URL, shard=(1, 2)) is not None
    assert stored(store) == contents(tmp_path / "here")


def test_a_data_set_grows_and_is_never_half_there(make, songs, tmp_path, store, monkeypatch):
    make(songs, URL)
    make(songs, tmp_path / "here")
    before = stored(store)
    soundfile.write(songs / "artist1/new.wav", music(0.5, 20), 24000)
    with stopping_after(9):
        make(songs, URL)
    assert before.items() <= stored(store).items()  # the old one, until the new one is there

    done = []
    upload, remove = Bucket.upload, Bucket.remove

    def upload_until_killed(self, path, name):
        done.append(f"+{name}")
        if name == "dataset.json":
            raise ConnectionError("killed")
        upload(self, path, name)

    def note_remove(self, names):
        done.extend(f"-{name}" for name in names)
        remove(self, names)

    monkeypatch.setattr(Bucket, "upload", upload_until_killed)
    monkeypatch.setattr(Bucket, "remove", note_remove)
    with pytest.raises(ConnectionError):
        make(songs, URL)
    changed = [step for step in done if "unfinished" not in step]
    assert changed[0] == "-dataset.json" and changed[-1] == "+dataset.json"
    monkeypatch.undo()
    make(songs, URL)
    make(songs, tmp_path / "here")
    assert stored(store) == contents(tmp_path / "here")
    TokenDataset(URL).verify()


def test_leftovers_beside_a_whole_data_set_are_removed(make, songs, store, monkeypatch):
    monkeypatch.setattr(output.StoredOutput, "_clear", lambda self: None)  # as killed there
    make(songs, URL)
    assert "unfinished/settings.json" in store.names()
    monkeypatch.undo()
    make(songs, URL)
    assert not store.names("unfinished") and "dataset.json" in store.names()


def test_two_machines_that_clear_up_at_once(make, songs, store, monkeypatch):
    names, memory = Bucket.names, fsspec.filesystem("memory")

    def found_before_the_other_one_removed_them(bucket, below=""):
        found = names(bucket, below)
        if below == "unfinished" and "dataset.json" in names(bucket):
            for name in found:
                memory.rm_file(f"/bucket/tokens/{name}")
        return found

    monkeypatch.setattr(Bucket, "names", found_before_the_other_one_removed_them)
    make(songs, URL).verify()
    assert "dataset.json" in store.names() and not store.names("unfinished")


def test_files_of_which_none_can_be_used_are_listed_there(make, tmp_path, store):
    (tmp_path / "songs").mkdir()
    (tmp_path / "songs/a.wav").write_text("text")
    with pytest.raises(UserError, match=f"all are in {URL}/failures.jsonl|a.wav: "):
        make(tmp_path / "songs", URL)
    assert store.names() == ["failures.jsonl"]
    assert json.loads(store.read("failures.jsonl"))["id"] == "a.wav"
    Bucket(f"{URL}/run").write("checkpoints/5/x", b"")
    with pytest.raises(UserError, match="/run holds a model"):
        make(tmp_path / "songs", f"{URL}/run")


def test_other_settings_at_the_same_moment_are_refused(songs, tmp_path, store):
    place = output.output_at(URL)
    job = make_job(songs, place.folder.path)
    place.fetch()
    prepare_output(job)
    place.begin(job)
    store.write("unfinished/settings.json", b"{}")
    with pytest.raises(UserError, match="is being made with other settings by another machine"):
        place.assemble(job)


def test_a_store_that_refuses_for_long_ends_the_job(songs, store, monkeypatch):
    place = output.output_at(URL)
    job = make_job(songs, place.folder.path)
    prepare_output(job)

    def refuse(self):
        raise UserError("no such bucket")

    monkeypatch.setattr(output.StoredOutput, "push_logs", refuse)
    monkeypatch.setattr(output, "PUSH_EVERY_S", 0.001)
    monkeypatch.setattr(output, "PATIENCE_S", 0.01)
    with pytest.raises(UserError, match="nothing could be stored for 0.01 s: no such bucket"):
        with place.storing():
            while True:
                place.check()
                time.sleep(0.01)


def test_killed_and_resumed(songs, codec_dir, tmp_path, run_command, make):
    """SIGKILL as soon as more is stored, until a run gets through."""
    make(songs, tmp_path / "here")
    url, there = f"file://{tmp_path}/bucket", tmp_path / "bucket"

    def start():
        return run_command.start(ENCODE_OFTEN, *flags(songs, url, codec_dir))

    kill_until_done(start, lambda: len(list(there.glob("unfinished/*.log"))), there, kills=1)
    (there / "unfinished").rmdir()  # a bucket has no folders
    assert contents(there) == contents(tmp_path / "here")


def test_a_store_that_is_unknown_is_named(make, songs):
    with pytest.raises(UserError, match="^nonsense://x: Protocol not known: nonsense$"):
        make(songs, "nonsense://x")
