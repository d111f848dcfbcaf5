"""Music in an object store: listed as on a disk, a file at a time on this machine."""

import argparse
import tempfile

import fsspec
import pytest

from tests.tokenizer_bridge.toy_songs import CODEC, contents
from tokenizer_bridge.audio.errors import AudioError
from tokenizer_bridge.audio.windows import Windowing
from tokenizer_bridge.encode import make_parser
from tokenizer_bridge.encoding.tracks import encode_tracks
from tokenizer_bridge.jobs.encode import encode, try_out
from tokenizer_bridge.source_arguments import load_tracks
from tokenizer_bridge.sources import Failure, fingerprint, folder, longest_first
from tokenizer_bridge.sources.stored import at_hand
from tokenizer_bridge.token_dataset.buckets import Bucket
from tokenizer_bridge.token_dataset.errors import UserError

URL = "memory://bucket/songs"


@pytest.fixture
def store(songs):
    """The songs in a bucket."""
    for path in songs.rglob("*.wav"):
        Bucket(URL).upload(path, path.relative_to(songs).as_posix())
    yield Bucket(URL)
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def arguments(*given) -> argparse.Namespace:
    return make_parser().parse_args([*given, "--output=x"])


def test_tracks_are_those_of_a_disk(store, songs):
    stored, here = load_tracks(arguments(f"--audio={URL}")), folder.tracks(songs)
    assert [(t.id, t.artist) for t in stored] == [(t.id, t.artist) for t in here]
    assert fingerprint(stored) == fingerprint(here)
    assert [t.id for t in longest_first(stored)] == [t.id for t in longest_first(here)]
    for track, other in zip(stored, here, strict=True):
        with at_hand(track) as path:
            assert path.read_bytes() == other.path.read_bytes() and path.suffix == ".wav"
        assert not path.exists()
    (single,) = load_tracks(arguments(f"--audio={URL}/artist0/song0.wav"))
    assert single.id == "song0.wav" and single.stored == f"{URL}/artist0/song0.wav"
    with pytest.raises(UserError, match=f"^{URL}/none: no audio files in it"):
        load_tracks(arguments(f"--audio={URL}/none"))
    with pytest.raises(UserError, match="^--tags=metadata reads all files"):
        load_tracks(arguments(f"--audio={URL}", "--tags=metadata"))


def test_the_data_set_is_that_of_a_disk(store, songs, codec_dir, tmp_path, monkeypatch):
    most = 0

    def count(self, name, path, download=Bucket.download):
        nonlocal most
        download(self, name, path)
        most = max(most, sum(1 for _ in (tmp_path / "temporary").glob("sedd_music-track-*")))

    store.write("artist0/text.mp3", b"text")
    (songs / "artist0/text.mp3").write_bytes(b"text")
    options = {"codec": "toy", "codec_dir": str(codec_dir), "window_s": 1.0, "overlap_s": 0.2}
    encode(folder.tracks(songs), tmp_path / "here", **options)
    tracks = load_tracks(arguments(f"--audio={URL}"))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(Bucket, "download", count)
    encode(tracks, tmp_path / "there", **options)
    assert 1 <= most <= 3 and not any((tmp_path / "temporary").iterdir())
    here, there = contents(tmp_path / "here"), contents(tmp_path / "there")
    assert here.pop("failures.jsonl").replace(str(songs).encode(), URL.encode()) == there.pop(
        "failures.jsonl"
    )
    assert here == there
    said = try_out(tracks, codec="toy", codec_dir=str(codec_dir))
    assert said == try_out(folder.tracks(songs), codec="toy", codec_dir=str(codec_dir))


def test_a_file_that_has_gone_fails_alone_and_a_store_that_refuses_ends_it(
    store, codec, monkeypatch
):
    tracks = load_tracks(arguments(f"--audio={URL}"))
    store.remove([tracks[0].id])
    with pytest.raises(AudioError, match="is not there"):
        with at_hand(tracks[0]):
            pass
    windowing = Windowing.from_seconds(1.0, 0.2, CODEC["sample_rate"] / CODEC["hop_length"])
    results = list(encode_tracks(codec, tracks[:2], windowing, 1))
    assert [isinstance(result, Failure) for result in results].count(True) == 1

    def refuse(*_, **__):
        raise ConnectionError("no route")

    monkeypatch.setattr(fsspec.filesystem("memory").__class__, "get_file", refuse)
    with pytest.raises(UserError, match=f"^{URL}/artist0: no route$"):
        list(encode_tracks(codec, tracks[1:2], windowing, 1))


def test_published_layouts_are_known_there(store):
    for name in ("train/001/0001.wav", "valid/001/0002.wav"):
        Bucket("memory://bucket/Nlakh-single").write(name, b"x")
    with pytest.raises(UserError, match="^memory://bucket/Nlakh-single has the layout of nlakh"):
        load_tracks(arguments("--audio=memory://bucket/Nlakh-single"))
    tracks = load_tracks(arguments("--audio=memory://bucket/Nlakh-single", "--source=nlakh"))
    assert [track.split for track in tracks] == ["train", "validation"]
    assert tracks[0].stored == "memory://bucket/Nlakh-single/train/001/0001.wav"
