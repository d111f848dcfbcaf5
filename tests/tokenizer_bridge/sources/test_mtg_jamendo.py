"""MTG-Jamendo: official TSVs and both distributions of the audio, by `load` and the command."""

import json
import random
import shutil

import pytest

from tests.tokenizer_bridge.sources.layouts import (
    HEADER,
    ROWS,
    make_jamendo,
    row_path,
    write_checksums,
    write_tsv,
)
from tests.tokenizer_bridge.toy_songs import ENCODE, assert_one_line_error, flags
from tokenizer_bridge.sources import fingerprint, load
from tokenizer_bridge.sources.splits import assign_splits
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset

IDS = [row.split(b"\t")[0].decode() for row in ROWS]


@pytest.fixture
def audio(tmp_path):
    return make_jamendo(tmp_path / "audio")


@pytest.fixture
def tsv(tmp_path):
    return write_tsv(tmp_path / "raw_30s.tsv", ROWS)


def jamendo(audio, **options):
    return load("mtg_jamendo", audio, **options)


def test_tracks_are_as_published(audio, tsv):
    tracks = jamendo(audio, metadata=tsv)
    assert [track.id for track in tracks] == IDS
    for track, row in zip(tracks, ROWS, strict=True):
        cells = row.decode().removesuffix("\r\n").split("\t")
        assert (track.artist, list(track.tags)) == (cells[1], cells[5:])
        assert (track.path, track.file, track.split) == (audio / cells[3], cells[3], None)


def test_low_bitrate_names_are_found_and_need_no_other_tsv(tmp_path, tsv):
    low = make_jamendo(tmp_path / "low", low=True)
    (track,) = (track for track in jamendo(low, metadata=tsv) if track.id == "track_1009600")
    assert track.path == low / "00/1009600.low.mp3" and track.path.exists()
    with pytest.raises(UserError, match=r"none of the 6 files is there \(looked for 14/214.mp3 …"):
        jamendo(low, metadata=tsv, bitrate="full")

    make_jamendo(low)
    with pytest.raises(UserError, match="full and low-bitrate files .*: say which bitrate"):
        jamendo(low, metadata=tsv)
    for bitrate, name in (("full", "14/214.mp3"), ("low", "14/214.low.mp3")):
        assert jamendo(low, metadata=tsv, bitrate=bitrate)[0].file == name


def test_linked_folders_and_the_only_tsv(tmp_path, audio, tsv):
    linked = tmp_path / "linked"
    linked.mkdir()
    for folder in audio.iterdir():
        (linked / folder.name).symlink_to(folder)
    with pytest.raises(UserError, match="holds 0 TSVs: say which is the official one"):
        jamendo(linked)
    shutil.copy(tsv, linked)
    (tmp_path / "link").symlink_to(linked)
    tracks = jamendo(tmp_path / "link")
    assert [track.id for track in tracks] == IDS and all(t.path.is_file() for t in tracks)


def test_a_subset_depends_on_seed_and_ids_alone(tmp_path, audio, tsv):
    def chosen(path, **options) -> list[str]:
        return [track.id for track in jamendo(audio, metadata=path, **options)]

    three = chosen(tsv, num_tracks=3)
    assert len(three) == 3 and three == sorted(three)
    assert set(chosen(tsv, num_tracks=2)) < set(three)
    shuffled = write_tsv(tmp_path / "shuffled.tsv", random.Random(0).sample(ROWS, 6))
    assert chosen(shuffled, num_tracks=3) == three
    assert len({tuple(chosen(tsv, num_tracks=3, seed=seed)) for seed in range(10)}) > 3
    # Of what is not in the subset nothing depends but its own place in it.
    others = [row for row, track_id in zip(ROWS, IDS, strict=True) if track_id not in three]
    fewer = [row for row in ROWS if row != others[0]]
    assert chosen(write_tsv(tmp_path / "fewer.tsv", fewer), num_tracks=3) == three
    with pytest.raises(UserError, match="the source has 6 tracks, fewer than 7"):
        chosen(tsv, num_tracks=7)


def test_splits_of_the_publisher_are_kept(tmp_path, audio):
    files = {
        split: write_tsv(tmp_path / f"{split}.tsv", rows)
        for split, rows in (("train", ROWS[:3]), ("validation", ROWS[3:5]), ("test", ROWS[5:]))
    }
    tracks = jamendo(audio, split_files=files)
    assert [track.split for track in tracks] == ["train"] * 3 + ["validation"] * 2 + ["test"]
    assert fingerprint(tracks) != fingerprint(jamendo(audio, split_files=files | {
        "validation": files["test"], "test": files["validation"]
    }))  # fmt: skip

    write_tsv(files["train"], ROWS[:1])
    write_tsv(files["test"], ROWS[1:2])
    with pytest.raises(UserError) as caught:
        jamendo(audio, split_files=files)
    for text in ("artist_000014 (track_0000215)", str(files["train"]), str(files["test"])):
        assert text in str(caught.value)
    with pytest.raises(UserError, match="a split is one of train, validation, test"):
        jamendo(audio, split_files={"valid": files["validation"]})
    with pytest.raises(UserError, match="give one of them"):
        jamendo(audio, split_files=files, metadata=files["train"])


@pytest.mark.parametrize(("content", "complaint"), [
    (b"TRACK_ID\tPATH\r\n" + ROWS[0], ", line 1: the header must be TRACK_ID ARTIST_ID"),
    (b"raw_30s_cleantags_50artists.tsv", ", line 1: the header must be"),  # a link, as plain text
    (b"", ", line 1: the header must be"),
    (HEADER, ": lists no track"),
    (HEADER + ROWS[0] + ROWS[0].replace(b"214", b"9", 1), ", line 3: 14/214.mp3 is in line 2 too"),
    (HEADER + ROWS[0] + b"track_0000215\tartist_000014\r\n", ", line 3: ALBUM_ID is missing"),
    (HEADER + b"\r\n" + ROWS[0], ", line 2: TRACK_ID is ''"),
    (HEADER + ROWS[0].replace(b"14/214.mp3", b"../214.mp3"), ", line 2: PATH is '../214.mp3'"),
    (HEADER + ROWS[0].replace(b"124.6", b"2:04"), ", line 2: DURATION is '2:04'"),
    (HEADER + ROWS[0] + ROWS[1] + ROWS[0], ", line 4: track_0000214 is in line 2 too"),
    (HEADER + ROWS[0].replace(b"punk", b"\xe9"), ", line 2: not UTF-8"),
])  # fmt: skip
def test_files_that_are_not_as_published(audio, tmp_path, content, complaint):
    (tmp_path / "bad.tsv").write_bytes(content)
    with pytest.raises(UserError) as caught:
        jamendo(audio, metadata=tmp_path / "bad.tsv")
    assert str(caught.value).startswith(f"{tmp_path / 'bad.tsv'}{complaint}")


def test_marks_and_blank_lines_of_editors_are_passed_over(audio, tmp_path, tsv):
    checksums = write_checksums(tmp_path / "sums.txt", audio)
    wanted = jamendo(audio, metadata=tsv, checksums=checksums)
    for path in (tsv, checksums):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\r\n\n")
    assert jamendo(audio, metadata=tsv, checksums=checksums) == wanted


def test_checksums_that_contradict_each_other(audio, tmp_path, tsv):
    checksums = write_checksums(tmp_path / "sums.txt", audio)
    lines = checksums.read_text().splitlines()
    checksums.write_text("\n".join([*lines, lines[0], "0" * 64 + lines[1][64:]]))
    with pytest.raises(UserError, match=r"sums.txt, line 8: another SHA-256 of .* is above it"):
        jamendo(audio, metadata=tsv, checksums=checksums)


def test_what_is_not_there_is_named(audio, tmp_path, tsv):
    with pytest.raises(UserError, match="no.tsv: No such file"):
        jamendo(audio, metadata=tmp_path / "no.tsv")
    with pytest.raises(UserError, match="no: no such folder"):
        jamendo(tmp_path / "no", metadata=tsv)
    with pytest.raises(UserError, match="none of the 6 files is there .looked for 14/214.mp3 and"):
        jamendo(tmp_path, metadata=tsv)


def test_checksums_are_of_the_files_chosen(audio, tmp_path, tsv):
    checksums = write_checksums(tmp_path / "audio_sha256_tracks.txt", audio)
    tracks = jamendo(audio, metadata=tsv, checksums=checksums)
    assert [f"{track.sha256} {track.file}" in checksums.read_text() for track in tracks] == [
        True
    ] * 6
    lines = checksums.read_text().splitlines(keepends=True)
    checksums.write_text("".join(line for line in lines if "48/948.mp3" not in line))
    with pytest.raises(UserError, match="has no SHA-256 of 48/948.mp3; full and low"):
        jamendo(audio, metadata=tsv, checksums=checksums)
    checksums.write_text(lines[0] + "what\n")
    with pytest.raises(UserError, match="tracks.txt, line 2: not a SHA-256 and a file's name"):
        jamendo(audio, metadata=tsv, checksums=checksums)


def test_the_command(audio, tmp_path, tsv, codec_dir, run_command):
    """One file missing, one damaged: listed. Tags, artists and files are in the records."""
    checksums = write_checksums(tmp_path / "sums.txt", audio)
    (audio / row_path(ROWS[2])).unlink()
    damaged = audio / row_path(ROWS[5])
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1  # still an MP3
    damaged.write_bytes(data)
    arguments = flags(
        audio, tmp_path / "out", codec_dir, "--source=mtg_jamendo", f"--metadata={tsv}",
        "--num_tracks=6", "--seed=3", f"--checksums={checksums}", "--splits=by_artist",
    )  # fmt: skip
    outcome = run_command(ENCODE, *arguments)
    assert outcome.code == 0, outcome.err
    assert f"1 of 6 files are missing, the first is {audio}/48/948.mp3" in outcome.out
    assert "2 of 6 files could not be used, the first is track_0000948 (missing, " in outcome.out
    lines = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    reasons = {entry["id"]: entry["reason"] for entry in map(json.loads, lines)}
    assert reasons.keys() == {"track_0000948", "track_1421614"}
    assert reasons["track_0000948"].startswith("missing")
    assert reasons["track_1421614"].startswith("its SHA-256 is not the published one")

    dataset = TokenDataset(tmp_path / "out")
    assert dataset.origin["source"] == "mtg_jamendo"
    assert dataset.origin["source_options"] == {
        "num_tracks": 6, "seed": 3, "metadata": "raw_30s.tsv", "checksums": "sums.txt",
    }  # fmt: skip
    split_of = {r.id: (split, r) for split in dataset.splits for r in dataset.records(split)}
    assert split_of.keys() == set(IDS) - reasons.keys()
    artists = {track_id: record.artist for track_id, (_, record) in split_of.items()}
    assert {i: split for i, (split, _) in split_of.items()} == assign_splits(artists)
    record = split_of["track_1009600"][1]
    assert record.artist == "artist_431065" and record.source["file"] == "00/1009600.mp3"
    assert record.tags == ("genre---classical", "genre---soundtrack", "mood/theme---romantic")

    for other in ("--seed=4", "--num_tracks=5", "--bitrate=full"):
        assert_one_line_error(run_command(ENCODE, *arguments, other), "was made with another ")


def test_the_layout_is_not_taken_for_folders_of_artists(audio, tmp_path, codec_dir, run_command):
    arguments = flags(audio, tmp_path / "out", codec_dir)
    assert_one_line_error(run_command(ENCODE, *arguments), "say --source=mtg_jamendo")
    assert not (tmp_path / "out").exists()
    assert run_command(ENCODE, *arguments, "--source=folder").code == 0


def test_the_command_keeps_official_splits(audio, tmp_path, codec_dir, run_command):
    rows = {"train": ROWS[5:], "validation": ROWS[2:5], "test": ROWS[:2]}
    files = [f"{split}={write_tsv(tmp_path / split, some)}" for split, some in rows.items()]
    arguments = flags(audio, tmp_path / "out", codec_dir, "--source=mtg_jamendo")
    outcome = run_command(ENCODE, *arguments, f"--split_files={','.join(files)}")
    assert outcome.code == 0, outcome.err
    dataset = TokenDataset(tmp_path / "out")
    assert {split: dataset.num_records(split) for split in dataset.splits} == {
        "train": 1, "validation": 3, "test": 2
    }  # fmt: skip
    for bad in ("", "train", "train=", f"{files[0]},{files[0]}"):
        outcome = run_command(ENCODE, *arguments, f"--split_files={bad}")
        assert_one_line_error(outcome, "must be SPLIT=TSV, each split once")
