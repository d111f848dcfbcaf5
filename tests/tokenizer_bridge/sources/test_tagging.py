"""Tags and artists of a folder's tracks: from folder names, from the files, from a CSV."""

import mutagen
import pytest
import soundfile
from mutagen.id3 import TCON, TMOO, TPE1

from tests.tokenizer_bridge.toy_songs import ENCODE, assert_one_line_error, flags, music
from tokenizer_bridge.sources import load
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset


def make_files(root, *names) -> None:
    for seed, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        kind = {"format": "OGG", "subtype": "OPUS"} if name.endswith(".opus") else {}
        soundfile.write(root / name, music(0.5, seed), 24000, **kind)


def tagged(root, tags) -> tuple[dict[str, tuple], list[str]]:
    """id -> (artist, tags), and the lines that were told."""
    told = []
    tracks = load("folder", root, tags=str(tags), tell=told.append)
    return {track.id: (track.artist, track.tags) for track in tracks}, told


def test_without_asking_there_are_none(tmp_path):
    make_files(tmp_path, "rock/x.wav")
    assert tagged(tmp_path, "none") == ({"rock/x.wav": ("rock", ())}, [])


def test_folders_are_tags_and_not_artists(tmp_path):
    make_files(tmp_path, "rock/live/x.wav", "jazz/y.wav", "z.wav")
    found, told = tagged(tmp_path, "folders")
    assert found == {
        "rock/live/x.wav": (None, ("rock", "live")),
        "jazz/y.wav": (None, ("jazz",)),
        "z.wav": (None, ()),
    }
    assert told == ["1 of 3 files have no tags: z.wav"]


@pytest.mark.parametrize("suffix", ["mp3", "flac", "ogg", "opus", "wav", "aiff"])
def test_metadata_of_files(tmp_path, suffix):
    make_files(tmp_path, f"folder/x.{suffix}", f"folder/bare.{suffix}")
    path = tmp_path / f"folder/x.{suffix}"
    if suffix in ("wav", "aiff"):
        file = mutagen.File(path)
        file.add_tags()
        file.tags.add(TPE1(text=["A. Artist"]))
        file.tags.add(TCON(text=["17", "Latin"]))
        file.tags.add(TMOO(text=["dark"]))
    else:
        file = mutagen.File(path, easy=True)
        if file.tags is None:
            file.add_tags()
        file["artist"] = ["A. Artist"]
        file["genre"] = ["Rock", "Latin"]
        file["mood"] = ["dark"]
    file.save()
    found, told = tagged(tmp_path, "metadata")
    tags = ("genre---Rock", "genre---Latin", "mood/theme---dark")
    assert found[f"folder/x.{suffix}"] == ("A. Artist", tags)
    assert found[f"folder/bare.{suffix}"] == ("folder", ())  # the folder still names the artist
    assert told == [f"1 of 2 files have no tags: folder/bare.{suffix}"]


def test_metadata_that_cannot_be_read(tmp_path, monkeypatch):
    make_files(tmp_path, "a/x.wav")
    (tmp_path / "a/text.mp3").write_text("no music\n" * 500)
    (tmp_path / "a/empty.flac").write_bytes(b"")
    (tmp_path / "a/gone.ogg").symlink_to(tmp_path / "nowhere")
    found, told = tagged(tmp_path, "metadata")
    assert set(found.values()) == {("a", ())} and len(found) == 4
    assert told == ["4 of 4 files have no tags: a/empty.flac, a/gone.ogg, a/text.mp3 …"]

    def index_error(path, easy):  # what mutagen raises for some damaged Ogg files
        raise IndexError("bytearray index out of range")

    monkeypatch.setattr(mutagen, "File", index_error)
    assert tagged(tmp_path, "metadata") == (found, told)


def test_a_csv(tmp_path):
    make_files(tmp_path / "in", "a/x.wav", "y, z.wav", "lone.wav")
    table = tmp_path / "Tags.CSV"
    table.write_bytes(
        '\ufeffpath,artist,tags\r\na/x.wav,Somebody,rock; fast ;;rock\r\n"y, z.wav",,calm\r\n'
        "gone.wav,Nobody,\r\n".encode()
    )
    found, told = tagged(tmp_path / "in", table)
    assert found == {
        "a/x.wav": ("Somebody", ("rock", "fast")),
        "y, z.wav": (None, ("calm",)),
        "lone.wav": (None, ()),
    }
    assert told == [
        f"1 of 3 rows of {table} name no file: gone.wav",
        f"1 of 3 files are not in {table}: lone.wav",
        "1 of 3 files have no tags: lone.wav",
    ]


@pytest.mark.parametrize(("content", "complaint"), [
    (b"file,artist,tags\nx.wav,,\n", ", line 1: the header must be path,artist,tags"),
    (b"path,artist,tags\nx.wav,rock\n", ", line 2: 2 columns instead of 3"),
    (b"path,artist,tags\nx.wav,,a\n\nx.wav,,b\n", ", line 3: 0 columns instead of 3"),
    (b"path,artist,tags\nx.wav,,a\nx.wav,,b\n", ", line 3: x.wav is listed a second time"),
    (b"path,artist,tags\nx.wav,,\xff\n", ", line 2: not UTF-8"),
    (b'path,artist,tags\nx.wav,,"a\n', ", line 2: unexpected end of data"),
    (b"path,artist,tags\ny.wav,,a\n", ": none of its 1 rows names a file in the folder"),
    (b'"path\n",artist,tags\nx.wav,,a\n', ", line 1: the header must be path,artist,tags"),
    (b"path,artist,tags\n", ": lists no file below its header"),
    (b"", ", line 1: the header must be path,artist,tags"),
])  # fmt: skip
def test_a_csv_that_is_not_so(tmp_path, content, complaint):
    make_files(tmp_path, "x.wav")
    (tmp_path / "tags.csv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        load("folder", tmp_path, tags=str(tmp_path / "tags.csv"))
    assert str(caught.value).startswith(f"{tmp_path / 'tags.csv'}{complaint}")


def test_the_command(tmp_path, codec_dir, run_command):
    make_files(tmp_path / "in", "rock/x.wav", "jazz/y.wav", "jazz/z.wav")
    arguments = flags(tmp_path / "in", tmp_path / "out", codec_dir, "--tags=folders")
    outcome = run_command(ENCODE, *arguments)
    assert outcome.code == 0, outcome.err
    dataset = TokenDataset(tmp_path / "out")
    records = [record for split in dataset.splits for record in dataset.records(split)]
    assert {(r.id, r.artist, r.tags) for r in records} == {
        ("rock/x.wav", None, ("rock",)),
        ("jazz/y.wav", None, ("jazz",)),
        ("jazz/z.wav", None, ("jazz",)),
    }
    assert dataset.origin["source_options"] == {"tags": "folders"}
    for flag, text in (
        ("--tags=none", "was made with another source_options ("),
        ("--tags=genres", "tags=genres: must be none, folders, metadata or the path of a .csv"),
        ("--tags=no.csv", "no.csv: No such file or directory"),
        ("--metadata=x.tsv", "metadata: only the source mtg_jamendo has it, not folder"),
        ("--num_tracks=9", "the source has 3 tracks, fewer than 9"),
    ):
        assert_one_line_error(run_command(ENCODE, *arguments, flag), text)
