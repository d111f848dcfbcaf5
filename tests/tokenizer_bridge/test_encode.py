"""The command from folders of audio to token datasets: kills, and everything unusable."""

import contextlib
import json
import os
import subprocess
import sys

import numpy as np
import soundfile

from tests.tokenizer_bridge.toy_songs import (
    ENCODE,
    assert_one_line_error,
    contents,
    flags,
    kill_until_done,
    music,
)
from tokenizer_bridge.token_dataset.records import TokenDataset


def test_the_command(songs, codec_dir, tmp_path, run_command):
    arguments = flags(songs, tmp_path / "out", codec_dir)
    outcome = run_command(ENCODE, *arguments)
    assert outcome.code == 0, outcome.err
    assert "tracks: test 3, train 3, validation 3" in outcome.out
    assert "40,500 tokens" in outcome.out  # 13.5 s at 3,000 a second
    assert "9/9" in outcome.err  # the progress bar
    before = contents(tmp_path / "out")
    assert before["failures.jsonl"] == b""
    record = next(TokenDataset(tmp_path / "out").records("train"))
    assert record.artist == record.id.split("/")[0] and record.source["file"] == record.id

    outcome = run_command(ENCODE, *arguments)
    assert outcome.code == 0 and outcome.out.startswith("whole already, nothing to do")
    assert contents(tmp_path / "out") == before

    outcome = run_command(ENCODE, *arguments, "--window_s=2")
    assert outcome.code == 1
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1


def test_vectors_of_tracks_go_into_their_records(songs, codec_dir, tmp_path, run_command):
    for path in songs.rglob("*.wav"):
        np.save(path.with_suffix(".npy"), np.full(5, int(path.stem[-1]), np.float16))
    arguments = flags(songs, tmp_path / "out", codec_dir)
    wanted = f"--vectors=clip:{songs},clap:{songs}"
    outcome = run_command(ENCODE, *arguments, wanted, f"--vectors=clip:{songs}")
    assert_one_line_error(outcome, "--vectors: clip is given twice")
    for bad in ("clip", "clip:", f":{songs}"):
        outcome = run_command(ENCODE, *arguments, f"--vectors={bad}")
        assert_one_line_error(outcome, f"--vectors: '{bad}' must be KIND:FOLDER")
    outcome = run_command(ENCODE, *arguments, "--dry_run", f"--vectors=clip:{tmp_path}")
    assert_one_line_error(outcome, "tracks have no vector 'clip'")
    assert not (tmp_path / "out").exists()
    outcome = run_command(ENCODE, *arguments, wanted, f"--vectors=speaker:{songs}")
    assert outcome.code == 0, outcome.err
    assert "vectors: clap of 5 numbers, clip of 5 numbers, speaker of 5 numbers" in outcome.out
    record = next(TokenDataset(tmp_path / "out").records("train"))
    assert set(record.vectors) == {"clip", "clap", "speaker"}
    assert (record.vectors["clip"] == int(record.id[-5])).all()


def test_unusable_files_are_listed_and_counted(songs, codec_dir, tmp_path, run_command):
    bad = songs / "bad"
    bad.mkdir()
    whole = (songs / "artist0/song0.wav").read_bytes()
    (bad / "zero_bytes.wav").write_bytes(b"")
    (bad / "truncated.wav").write_bytes(whole[: len(whole) // 2])
    (bad / "text.mp3").write_text("not music\n" * 1000)
    soundfile.write(bad / "no_samples.wav", np.zeros(0), 24000)
    soundfile.write(bad / "silent.flac", np.zeros(48000), 24000)
    soundfile.write(bad / "short.wav", music(0.05, 0), 24000)
    nan = music(1.0, 0)
    nan[100] = np.nan
    soundfile.write(bad / "nan.wav", nan, 24000, subtype="FLOAT")
    soundfile.write(songs / "low.wav", music(1.0, 1)[::3], 8000)
    soundfile.write(songs / "high.wav", np.tile(music(1.0, 2)[:, None], (8, 8)), 192000)

    outcome = run_command(ENCODE, *flags(songs, tmp_path / "out", codec_dir))
    assert outcome.code == 0, outcome.err
    assert "7 of 18 files could not be used" in outcome.out
    lines = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    reasons = {entry["id"]: entry["reason"] for entry in map(json.loads, lines)}
    starts = {
        "bad/nan.wav": "holds samples that are not finite",
        "bad/no_samples.wav": "holds no samples",
        "bad/short.wav": "too short: 0.05 s",
        "bad/silent.flac": "silent",
        "bad/text.mp3": "not audio but text",
        "bad/truncated.wav": "cut short",
        "bad/zero_bytes.wav": "empty: 0 bytes",
    }
    assert sorted(reasons) == sorted(starts)
    assert all(reasons[name].startswith(start) for name, start in starts.items())
    dataset = TokenDataset(tmp_path / "out")
    durations = {r.id: r.duration_s for split in dataset.splits for r in dataset.records(split)}
    assert len(durations) == 11
    assert durations["low.wav"] == durations["high.wav"] == 1.0


def test_preparation_is_recorded_and_must_agree(songs, codec_dir, tmp_path, run_command):
    left = music(1.0, 30)
    soundfile.write(songs / "opposite.wav", np.stack([left, -0.98 * left], 1), 24000)
    arguments = flags(songs, tmp_path / "out", codec_dir)
    outcome = run_command(ENCODE, *arguments)
    assert outcome.code == 0, outcome.err
    assert "1 track whose channels cancel each other: the loudest one was taken" in outcome.out
    dataset = TokenDataset(tmp_path / "out")
    assert dataset.origin["preparation"] == {"channels": "mean", "low_cut_hz": 20.0}
    sources = {r.id: r.source for split in dataset.splits for r in dataset.records(split)}
    assert sources["opposite.wav"]["channel"] == 0
    assert all("channel" not in sources[name] for name in sources if name != "opposite.wav")
    for flag in ("--low_cut_hz=0", "--channels=left"):
        outcome = run_command(ENCODE, *arguments, flag)
        assert_one_line_error(outcome, "was made with another preparation")
    about = json.loads((tmp_path / "out/dataset.json").read_text())
    del about["origin"]["preparation"]  # as it was before there was one
    (tmp_path / "out/dataset.json").write_text(json.dumps(about))
    assert len(TokenDataset(tmp_path / "out").splits) == 3
    assert_one_line_error(run_command(ENCODE, *arguments), "another preparation (None instead of")


def test_equal_audio_stays_in_one_split_and_is_counted(codec_dir, tmp_path, run_command):
    """Copies under another name, in another format."""
    for i in range(40):
        for copy in range(2):
            path = tmp_path / f"in/{i}-{copy}.{'wav' if copy else 'flac'}"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, (32767 * music(0.3, i)).astype(np.int16), 24000)
    outcome = run_command(ENCODE, *flags(tmp_path / "in", tmp_path / "out", codec_dir))
    assert outcome.code == 0, outcome.err
    assert "40 tracks are copies of others, to the sample: all are in the split of" in outcome.out
    dataset = TokenDataset(tmp_path / "out")
    splits = {r.id: split for split in dataset.splits for r in dataset.records(split)}
    assert len(splits) == 80 and set(splits.values()) == {"train", "validation", "test"}
    assert all(splits[f"{i}-0.flac"] == splits[f"{i}-1.wav"] for i in range(40))


def test_failures_name_files_whatever_the_locale(codec_dir, tmp_path):
    """Without UTF-8 a name is bytes for Python, and was written as their surrogates."""
    path = tmp_path / "in/Künstler/曲一.mp3"
    path.parent.mkdir(parents=True)
    path.write_text("text\n" * 100)
    soundfile.write(path.with_name("ü.wav"), music(0.3, 0), 24000)
    finished = subprocess.run(
        [sys.executable, "-m", ENCODE, *flags(tmp_path / "in", tmp_path / "out", codec_dir)],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
    )
    assert finished.returncode == 0, finished.stderr
    (line,) = (tmp_path / "out/failures.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == {
        "id": "Künstler/曲一.mp3", "file": str(path), "reason": "not audio but text",
    }  # fmt: skip
    (record,) = TokenDataset(tmp_path / "out").records("train")
    assert record.id == "Künstler/ü.wav"


def test_nothing_to_encode(codec_dir, tmp_path, run_command):
    (tmp_path / "in").mkdir()
    arguments = flags(tmp_path / "in", tmp_path / "out", codec_dir)
    outcome = run_command(ENCODE, *arguments)
    assert_one_line_error(outcome, "no audio files in it")
    assert not (tmp_path / "out").exists()

    (tmp_path / "in/x.mp3").write_bytes(b"\1\2\3\4")
    for _ in range(2):  # the second run must not take the first for done
        text = "none of the 1 files could be used: x.mp3: not audio that"
        assert_one_line_error(run_command(ENCODE, *arguments), text)
        assert list(contents(tmp_path / "out")) == ["failures.jsonl"]


def test_the_first_reasons_are_told_when_no_file_can_be_used(codec_dir, tmp_path, run_command):
    (tmp_path / "in").mkdir()
    for i in range(5):
        (tmp_path / f"in/{i}.mp3").write_text("no music\n" * 100)
    outcome = run_command(ENCODE, *flags(tmp_path / "in", tmp_path / "out", codec_dir))
    reasons = "; ".join(f"{i}.mp3: not audio but text" for i in range(3))
    text = f"none of the 5 files could be used: {reasons}; all are in {tmp_path}/out/failures.jsonl"
    assert_one_line_error(outcome, text)


def test_files_that_need_ffmpeg_are_named_before_the_work(songs, codec_dir, tmp_path, run_command):
    for name in ("a.m4a", "b.WMA"):
        (songs / name).write_bytes(b"\0\0\0\x20ftypM4A " + bytes(500))
    outcome = run_command(
        ENCODE, *flags(songs, tmp_path / "out", codec_dir), environment={"PATH": str(tmp_path)}
    )
    assert outcome.code == 0, outcome.err
    first = outcome.out.splitlines()[0]
    assert first.startswith("2 of 11 files need ffmpeg, which is not on the PATH, and will be left")
    assert "a.m4a, b.WMA; install ffmpeg" in first and "2 of 11 files could not be" in outcome.out


def test_flags_that_make_no_sense(songs, codec_dir, tmp_path, run_command):
    for flag, text in (
        ("--shard=2/2", "--shard: '2/2' must be i/n"),
        ("--overlap_s=0.9", "windows of 1 s that share 0.9 s"),
        ("--window_s=nan", "--window_s: nan: a finite number is needed"),
        ("--output=", "--output is empty"),
        ("--device=teapot", "device teapot cannot be used: Expected one of cpu"),
        ("stray", "unexpected argument 'stray'"),
    ):
        outcome = run_command(ENCODE, *flags(songs, tmp_path / "out", codec_dir), flag)
        assert_one_line_error(outcome, text)
    (tmp_path / "file").write_text("")
    outcome = run_command(ENCODE, *flags(songs, tmp_path / "file/out", codec_dir))
    assert_one_line_error(outcome, "Not a directory")


def test_a_disk_that_fills(songs, codec_dir, tmp_path, run_command):
    """First while tokens are logged, then while the dataset is written; then there is room."""
    arguments = flags(songs, tmp_path / "out", codec_dir)
    for max_file_bytes in (20_000, 60_000):
        outcome = run_command(ENCODE, *arguments, max_file_bytes=max_file_bytes)
        if max_file_bytes == 20_000:
            assert_one_line_error(outcome, "nothing more can be written")
    assert run_command(ENCODE, *arguments).code == 0
    run_command(ENCODE, *flags(songs, tmp_path / "roomy", codec_dir))
    assert contents(tmp_path / "out") == contents(tmp_path / "roomy")


def test_worker_processes(songs, codec_dir, tmp_path, run_command):
    command = [sys.executable, "-m", ENCODE]
    two = flags(songs, tmp_path / "two", codec_dir, "--num_workers=2")
    finished = subprocess.run([*command, *two], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert run_command(ENCODE, *flags(songs, tmp_path / "one", codec_dir)).code == 0
    assert contents(tmp_path / "one").keys() == contents(tmp_path / "two").keys()
    one, two = (
        {record.id: record.tokens for split in dataset.splits for record in dataset.records(split)}
        for dataset in (TokenDataset(tmp_path / "one"), TokenDataset(tmp_path / "two"))
    )
    assert one.keys() == two.keys() and len(one) == 9
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])


def test_killed_and_resumed(songs, codec_dir, tmp_path, run_command):
    """SIGKILL as soon as the log has grown, until a run gets through."""
    outcome = run_command(ENCODE, *flags(songs, tmp_path / "whole", codec_dir))
    assert outcome.code == 0, outcome.err
    output, log = tmp_path / "killed", tmp_path / "killed/unfinished/00000-of-00001.log"

    def start():
        return run_command.start(ENCODE, *flags(songs, output, codec_dir))

    def num_logged() -> int:
        with contextlib.suppress(FileNotFoundError):
            return log.stat().st_size
        return 0

    kill_until_done(start, num_logged, output, kills=3)
    assert contents(output) == contents(tmp_path / "whole")
