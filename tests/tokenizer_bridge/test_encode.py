"""Folders of audio to token datasets: windows, batches, shards, kills, and everything unusable.

Batches of one where results are compared to the bit: others round differently.
"""

import json
import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tokenizer_bridge.encode_job import EncodeJob, assemble, begin, encode_shard
from tokenizer_bridge.encoding import (
    Encoded,
    Failure,
    encode_batch,
    encode_tracks,
    encode_windowed,
    window_agreement,
)
from tokenizer_bridge.errors import UserError
from tokenizer_bridge.records import TokenDataset
from tokenizer_bridge.sources import folder
from tokenizer_bridge.windows import (
    Windowing,
    batches_of_equal_length,
    cut_audio,
    join_codes,
)
from tokenizer_bridge.worklog import WorkIndex, WorkLog

HOP = 8  # of the toy codec
ENCODE = "tokenizer_bridge.encode"
CODEC = {
    "name": "toy",
    "weights_sha256": "ab" * 32,
    "sample_rate": 24000,
    "hop_length": HOP,
    "codebook_size": 16,
}


def music(seconds: float, seed: int) -> np.ndarray:
    """Something that is neither silent nor the same twice."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * 24000)) / 24000
    tones = sum(np.sin(2 * np.pi * f * t) for f in rng.uniform(50, 2000, 3))
    return (0.1 * tones + 0.02 * rng.standard_normal(len(t))).astype(np.float32)


@pytest.fixture
def songs(tmp_path):
    """Nine tracks of three artists, 0.3 to 2.7 s, the longer ones in several windows."""
    for index in range(9):
        path = tmp_path / f"songs/artist{index % 3}/song{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, music(0.3 * (index + 1), index), 24000)
    return tmp_path / "songs"


def flags(input_dir, output, codec_dir, *more):
    return (
        f"--input={input_dir}", f"--output={output}", "--codec=toy", f"--codec_dir={codec_dir}",
        "--window_s=1", "--overlap_s=0.2", "--batch_size=1", *more,
    )  # fmt: skip


def contents(directory) -> dict[str, bytes]:
    assert not (Path(directory) / "unfinished").exists()
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


# Windows and batches


@pytest.mark.parametrize("overlap", [0, 3, 10])
def test_windows_cover_a_track_once(overlap):
    windowing = Windowing(20, overlap)
    for num_samples in [*range(1, 30), *range(155, 165), 300, 301, 399, 400, 1000, 1603]:
        signal = np.arange(1, num_samples + 1, dtype=np.float32)
        blocks = np.array_split(signal, 1 + num_samples % 7)
        windows = list(cut_audio(blocks, windowing, HOP))
        total = math.ceil(num_samples / HOP)
        assert [start for start, _ in windows] == windowing.starts(total)
        for start, audio in windows:
            assert len(audio) == (num_samples if total <= 20 else 20 * HOP)
            present = np.trim_zeros(audio, "b")
            np.testing.assert_array_equal(present, signal[start * HOP :][: len(present)])
        # Codes that say where they are must come out in order, none missing, none double.
        pieces = [(at, np.arange(at, at + math.ceil(len(audio) / HOP))) for at, audio in windows]
        np.testing.assert_array_equal(join_codes(pieces[::-1], overlap), np.arange(total))


def test_joined_codes_have_context_on_both_sides():
    windowing = Windowing(20, 6)
    pieces = [
        (start, np.minimum(np.arange(20), np.arange(20)[::-1]))  # distance to the nearer end
        for start in windowing.starts(95)
    ]
    distances = join_codes(pieces, windowing.overlap)
    assert len(distances) == 95
    assert distances[3:-3].min() >= 2  # 3 codes on the left side; 6 − 3 − 1 on the right


def test_windows_in_seconds():
    assert Windowing.from_seconds(30, 4, 75) == Windowing(2250, 300)
    for window_s, overlap_s in ((0, 0), (1, -1), (1, 0.6), (-1, 0)):
        with pytest.raises(UserError, match="--window_s="):
            Windowing.from_seconds(window_s, overlap_s, 75)


def test_batches_of_equal_length():
    items = [3, 5, 3, 3, 7, 5, 3, 3, 9, 11, 13, 15, 3]
    batches = list(batches_of_equal_length(items, lambda item: item, 2))
    assert sorted(sum(batches, [])) == sorted(items)
    assert all(len(set(batch)) == 1 and len(batch) <= 2 for batch in batches)
    assert sum(len(batch) == 2 for batch in batches) == 4

    held, most_held = 0, 0

    def counted():
        nonlocal held, most_held
        for item in range(100):  # all different
            held += 1
            most_held = max(most_held, held)
            yield item

    for batch in batches_of_equal_length(counted(), lambda item: item, 3):
        held -= len(batch)
    assert held == 0 and most_held == 13


# Encoding


def test_a_short_clip_is_encoded_in_one_piece(codec):
    audio = music(0.7, 1)[: 12345 + 3]
    whole = encode_batch(codec, audio[None])[0]
    assert len(whole) == math.ceil(len(audio) / HOP)
    np.testing.assert_array_equal(encode_windowed(codec, audio, Windowing(3000, 600)), whole)


def test_windows_agree_with_one_piece(codec):
    audio = music(4.0, 2)[:-5]
    without_context = window_agreement(codec, audio, Windowing(300, 0))
    with_context = window_agreement(codec, audio, Windowing(300, 100))
    assert len(set(encode_batch(codec, audio[None])[0])) > 4  # else agreeing is no feat
    assert with_context > 0.995
    assert with_context > without_context


def test_tracks_come_out_as_if_alone(codec, songs):
    windowing = Windowing(1000, 200)
    tracks = folder.tracks(songs)
    for batch_size in (1, 4):
        results = list(encode_tracks(codec, tracks, windowing, batch_size))
        assert sorted(result.track.id for result in results) == [track.id for track in tracks]
        for result in results:
            audio, _ = soundfile.read(result.track.path, dtype="float32")
            alone = encode_windowed(codec, audio, windowing)
            assert result.codes.dtype == np.uint16 and len(result.codes) == len(alone)
            differing = np.count_nonzero(result.codes != alone)  # by rounding, in larger batches
            assert differing <= (0 if batch_size == 1 else 0.001 * len(alone))
            assert result.duration_s == pytest.approx(len(audio) / 24000)


def test_a_failure_takes_no_other_track_with_it(codec, songs):
    signal = music(2.5, 9)
    signal[-1] = np.nan  # found when two windows have been encoded already
    soundfile.write(songs / "artist1/bad.wav", signal, 24000, subtype="FLOAT")
    results = list(encode_tracks(codec, folder.tracks(songs), Windowing(1000, 200), 2))
    assert sum(isinstance(result, Encoded) for result in results) == 9
    (failure,) = (result for result in results if isinstance(result, Failure))
    assert failure.track.id == "artist1/bad.wav" and "not finite" in failure.reason


def test_an_error_in_a_reader_is_raised(codec, songs, monkeypatch):
    def broken(path, rate):
        raise ZeroDivisionError

    monkeypatch.setattr("tokenizer_bridge.encoding.stream_mono", broken)
    with pytest.raises(ZeroDivisionError):
        list(encode_tracks(codec, folder.tracks(songs), Windowing(1000, 200), 2))


# Shards, kills and resuming


def make_job(songs, output) -> EncodeJob:
    return EncodeJob(
        output=output, source="folder", tracks=tuple(folder.tracks(songs)), codec=CODEC,
        window_s=1.0, overlap_s=0.2,
    )  # fmt: skip


def run_shard(job, codec, index, count):
    begin(job)
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
    begin(job)
    encode_shard(job, codec, 0, 1, 1, lambda tracks: None, lambda seconds: None)
    log = (job.unfinished / "00000-of-00001.log").read_bytes()
    assemble(job)
    flipped = bytearray(log)
    flipped[len(log) // 2] ^= 1
    cuts = np.random.default_rng(0).integers(0, len(log), 4)
    for number, damaged in enumerate([flipped, *(log[:cut] for cut in cuts)]):
        torn = make_job(songs, tmp_path / f"torn{number}")
        begin(torn)
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


def test_a_shard_belongs_to_one_process(tmp_path):
    with WorkLog(tmp_path / "x.log") as log:
        log.append(b"\x81\xa2id\xa1a")  # msgpack of {"id": "a"}
        with pytest.raises(UserError, match="another process is doing this shard"):
            WorkLog(tmp_path / "x.log")
    assert "a" in WorkIndex(tmp_path) and "b" not in WorkIndex(tmp_path)


def test_other_settings_are_refused(codec, songs, tmp_path):
    job = make_job(songs, tmp_path / "out")
    run_shard(job, codec, 0, 2)
    for whole in (False, True):
        if whole:
            run_shard(job, codec, 1, 2)
        soundfile.write(songs / "new.wav", music(0.5, 20), 24000)
        with pytest.raises(UserError, match="made with another num_files"):
            run_shard(make_job(songs, job.output), codec, 0, 2)
        (songs / "new.wav").unlink()
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


def test_killed_and_resumed(songs, codec_dir, tmp_path, run_door):
    """SIGKILL as soon as the log has grown, until a run gets through."""
    outcome = run_door(ENCODE, *flags(songs, tmp_path / "whole", codec_dir))
    assert outcome.code == 0, outcome.err
    killed = 0
    while not (tmp_path / "killed/dataset.json").exists():
        log = tmp_path / "killed/unfinished/00000-of-00001.log"
        size = log.stat().st_size if log.exists() else 0
        process = run_door.start(ENCODE, *flags(songs, tmp_path / "killed", codec_dir))
        deadline = time.monotonic() + 300
        while process.is_alive() and killed < 3 and time.monotonic() < deadline:
            if log.exists() and log.stat().st_size > size:
                process.kill()
                killed += 1
                break
            time.sleep(0.002)
        process.join()
        assert time.monotonic() < deadline
    assert killed >= 1
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


# The door


def test_the_door(songs, codec_dir, tmp_path, run_door):
    arguments = flags(songs, tmp_path / "out", codec_dir)
    outcome = run_door(ENCODE, *arguments)
    assert outcome.code == 0, outcome.err
    assert "tracks: test 3, train 3, validation 3" in outcome.out
    assert "40,500 tokens" in outcome.out  # 13.5 s at 3,000 a second
    assert "9/9" in outcome.err  # the progress bar
    before = contents(tmp_path / "out")
    assert before["failures.jsonl"] == b""
    record = next(TokenDataset(tmp_path / "out").records("train"))
    assert record.artist == record.id.split("/")[0] and record.source == {"file": record.id}

    outcome = run_door(ENCODE, *arguments)
    assert outcome.code == 0 and outcome.out.startswith("whole already, nothing to do")
    assert contents(tmp_path / "out") == before

    outcome = run_door(ENCODE, *arguments, "--window_s=2")
    assert outcome.code == 1
    assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1


def test_unusable_files_are_listed_and_counted(songs, codec_dir, tmp_path, run_door):
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

    outcome = run_door(ENCODE, *flags(songs, tmp_path / "out", codec_dir))
    assert outcome.code == 0, outcome.err
    assert "7 of 18 files could not be used" in outcome.out
    lines = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    reasons = {entry["id"]: entry["reason"] for entry in map(json.loads, lines)}
    starts = {
        "bad/nan.wav": "holds samples that are not finite",
        "bad/no_samples.wav": "holds no samples",
        "bad/short.wav": "too short: 0.05 s",
        "bad/silent.flac": "silent",
        "bad/text.mp3": "not audio that soundfile can read",
        "bad/truncated.wav": "cut short",
        "bad/zero_bytes.wav": "empty: 0 bytes",
    }
    assert sorted(reasons) == sorted(starts)
    assert all(reasons[name].startswith(start) for name, start in starts.items())
    dataset = TokenDataset(tmp_path / "out")
    durations = {r.id: r.duration_s for split in dataset.splits for r in dataset.records(split)}
    assert len(durations) == 11
    assert durations["low.wav"] == durations["high.wav"] == 1.0


def assert_one_line_error(outcome, text: str) -> None:
    assert outcome.code == 1
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and text in errors[0]
    assert "Traceback" not in outcome.err


def test_nothing_to_encode(codec_dir, tmp_path, run_door):
    (tmp_path / "in").mkdir()
    arguments = flags(tmp_path / "in", tmp_path / "out", codec_dir)
    outcome = run_door(ENCODE, *arguments)
    assert_one_line_error(outcome, "no audio files in it")
    assert not (tmp_path / "out").exists()

    (tmp_path / "in/x.mp3").write_text("text")
    for _ in range(2):  # the second run must not take the first for done
        assert_one_line_error(run_door(ENCODE, *arguments), "none of the 1 files could be used")
        assert list(contents(tmp_path / "out")) == ["failures.jsonl"]


def test_flags_that_make_no_sense(songs, codec_dir, tmp_path, run_door):
    for flag, text in (
        ("--shard=2/2", "--shard=2/2: must be i/n"),
        ("--overlap_s=0.9", "--window_s=1 --overlap_s=0.9"),
        ("--window_s=nan", "--window_s=nan: a finite number is needed"),
        ("--output=", "--output is empty"),
        ("--device=teapot", "--device=teapot cannot be used: Expected one of cpu"),
        ("stray", "unexpected argument 'stray'"),
    ):
        outcome = run_door(ENCODE, *flags(songs, tmp_path / "out", codec_dir), flag)
        assert_one_line_error(outcome, text)
    (tmp_path / "file").write_text("")
    outcome = run_door(ENCODE, *flags(songs, tmp_path / "file/out", codec_dir))
    assert_one_line_error(outcome, "Not a directory")


def test_a_disk_that_fills(songs, codec_dir, tmp_path, run_door):
    """First while tokens are logged, then while the dataset is written; then there is room."""
    arguments = flags(songs, tmp_path / "out", codec_dir)
    for max_file_bytes in (20_000, 60_000):
        outcome = run_door(ENCODE, *arguments, max_file_bytes=max_file_bytes)
        if max_file_bytes == 20_000:
            assert_one_line_error(outcome, "nothing more can be written")
    assert run_door(ENCODE, *arguments).code == 0
    run_door(ENCODE, *flags(songs, tmp_path / "roomy", codec_dir))
    assert contents(tmp_path / "out") == contents(tmp_path / "roomy")


def test_worker_processes(songs, codec_dir, tmp_path, run_door):
    command = [sys.executable, "-m", ENCODE]
    two = flags(songs, tmp_path / "two", codec_dir, "--num_workers=2")
    finished = subprocess.run([*command, *two], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert run_door(ENCODE, *flags(songs, tmp_path / "one", codec_dir)).code == 0
    assert contents(tmp_path / "one").keys() == contents(tmp_path / "two").keys()
    one, two = (
        {record.id: record.tokens for split in dataset.splits for record in dataset.records(split)}
        for dataset in (TokenDataset(tmp_path / "one"), TokenDataset(tmp_path / "two"))
    )
    assert one.keys() == two.keys() and len(one) == 9
    for name in one:  # the workers have fewer threads, and may round differently
        assert len(one[name]) == len(two[name])
        assert np.mean(one[name] != two[name]) < 0.001
