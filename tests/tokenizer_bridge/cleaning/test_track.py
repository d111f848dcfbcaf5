"""A track through all of cleaning, and the command that asks for it."""

import json
import re

import numpy as np
import pytest
import soundfile

from tests.tokenizer_bridge.toy_songs import ENCODE, assert_one_line_error, contents, flags, music
from tokenizer_bridge.audio.read import AudioError
from tokenizer_bridge.cleaning import Activity, Cleaning
from tokenizer_bridge.cleaning.loudness import loudness
from tokenizer_bridge.cleaning.track import CleanTrack
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TokenDataset

RATE = 24000
NOISE_DB = -66


def recording(seconds: float) -> np.ndarray:
    """Music with 4 s of hiss before it."""
    hiss_T = 10 ** (NOISE_DB / 20) * np.random.default_rng(2).standard_normal(4 * RATE)
    return np.concatenate([hiss_T.astype(np.float32), music(seconds, 5)])


def clean(audio_T: np.ndarray, blocks: int = 6, **options) -> tuple[np.ndarray, dict]:
    track = CleanTrack(lambda: iter(np.array_split(audio_T, blocks)), RATE, Cleaning(**options))
    return np.concatenate(list(track.blocks())), track.figures


def test_each_step_does_its_own_and_says_so():
    audio_T = recording(3.0)
    active_T, figures = clean(audio_T, activity=Activity(on_db=-40, off_db=-45))
    assert figures == {"dropped_s": 3.8} and len(active_T) == round(3.2 * RATE)
    np.testing.assert_array_equal(active_T[240:], audio_T[round(3.8 * RATE) + 240 :])

    gated_T, figures = clean(audio_T, noise_reduction=1.0)
    assert figures == {"noise_db": pytest.approx(NOISE_DB, abs=0.5)}
    assert np.abs(gated_T[RATE : 3 * RATE]).max() < 0.1 * np.abs(audio_T[: 3 * RATE]).max()
    same_T, figures = clean(music(3.0, 5), noise_reduction=1.0)
    assert figures == {"noise_db": None}
    np.testing.assert_array_equal(same_T, music(3.0, 5))

    quiet_T, figures = clean(audio_T, loudness_lufs=-30.0)
    assert loudness(quiet_T, RATE) == pytest.approx(-30, abs=0.01)
    assert figures["lufs"] + figures["gain_db"] == pytest.approx(-30, abs=0.02)


def test_the_target_holds_for_what_comes_out_of_the_other_steps():
    activity = Activity(on_db=-40, off_db=-45)
    out_T, figures = clean(
        recording(3.0), activity=activity, noise_reduction=0.8, loudness_lufs=-25.0
    )
    assert list(figures) == ["dropped_s", "noise_db", "lufs", "gain_db"]
    assert loudness(out_T, RATE) == pytest.approx(-25, abs=0.01)
    assert len(out_T) == round(3.2 * RATE) and figures["noise_db"] is not None


def test_a_long_track_is_not_held():
    """Output starts to come while the last pass over the input is under way."""
    reads = []

    def read():
        reads.append(0)
        for _ in range(40):
            reads[-1] += 1
            yield music(1.0, 4)

    cleaning = Cleaning(Activity(), noise_reduction=1.0, loudness_lufs=-20.0)
    blocks = CleanTrack(read, RATE, cleaning).blocks()
    while len(next(blocks)) == 0:
        pass
    assert reads[:-1] == [40, 40] and reads[-1] < 20


def test_nothing_left_is_a_reason():
    clicks_T = np.zeros(10 * RATE, np.float32)
    clicks_T[RATE :: 4 * RATE] = 0.5
    with pytest.raises(AudioError, match="no activity: nothing as long as 0.25 s above -"):
        clean(clicks_T, activity=Activity())
    with pytest.raises(AudioError, match="too short to have a loudness"):
        clean(music(0.3, 1), loudness_lufs=-20.0)


def test_options_that_make_no_sense():
    for options, text in (
        ({"noise_reduction": 1.5}, "noise reduction of 1.5: must be between 0 and 1"),
        ({"loudness_lufs": 3.0}, r"3 LUFS: must be in \(-70, 0\]"),
    ):
        with pytest.raises(UserError, match=text):
            Cleaning(**options)


def test_the_summary_says_what_was_done_and_what_was_not():
    tracks = [
        (1800.0, {"dropped_s": 1800.0, "noise_db": None, "lufs": -30.0, "gain_db": 3.0}),
        (3600.0, {"dropped_s": 0.0, "noise_db": -60.0, "lufs": None, "gain_db": 0.0}),
        (3600.0, {"dropped_s": 0.0, "noise_db": -60.0, "lufs": -30.0, "gain_db": 10.0}),
    ]
    assert Cleaning(Activity(), 1.0, -20.0).summary(tracks) == [
        "silence dropped: 0.50 of 3.00 h, from 1 of 3 tracks",
        "noise reduced in 2 of 3 tracks; the others have no half second quiet enough to tell noise "
        "from music",
        "1 of 3 tracks brought to -20 LUFS; the others are silent, or stay quieter lest they clip",
    ]
    assert Cleaning(noise_reduction=0.5).summary(tracks[1:]) == ["noise reduced in 2 of 2 tracks"]


def test_the_command(songs, codec_dir, tmp_path, run_command):
    soundfile.write(songs / "artist0/silence.wav", np.pad(music(1.0, 9), (72000, 0)), RATE)
    clicks_T = np.zeros(10 * RATE)
    clicks_T[RATE :: 4 * RATE] = 0.5
    soundfile.write(songs / "artist1/clicks.wav", clicks_T, RATE)
    arguments = flags(songs, tmp_path / "out", codec_dir, "--drop_silence")
    both = (*arguments, "--noise_reduction=0.5", "--loudness_lufs=-20")
    outcome = run_command(ENCODE, *both)
    assert outcome.code == 0, outcome.err
    # song0 is 0.3 s long: it has no loudness.
    lines = (tmp_path / "out/failures.jsonl").read_text().splitlines()
    reasons = {entry["id"]: entry["reason"] for entry in map(json.loads, lines)}
    assert reasons.keys() == {"artist0/song0.wav", "artist1/clicks.wav"}
    assert "no activity" in reasons["artist1/clicks.wav"]
    assert re.search(r"silence dropped: 0\.\d of 0\.\d min, from 1 of 9 tracks", outcome.out)
    assert "noise reduced in 0 of 9 tracks" in outcome.out
    assert "9 of 9 tracks brought to -20 LUFS" in outcome.out

    dataset = TokenDataset(tmp_path / "out")
    assert dataset.origin["cleaning"] == {
        "activity": {
            "on_db": -50.0, "off_db": -60.0, "min_active_s": 0.25, "min_silent_s": 2.0,
            "padding_s": 0.2,
        },
        "noise_reduction": 0.5,
        "loudness_lufs": -20.0,
    }  # fmt: skip
    records = {r.id: r for split in dataset.splits for r in dataset.records(split)}
    record = records["artist0/silence.wav"]
    # The low cut reaches 0.06 s into what is silent beside music that begins at once.
    assert record.duration_s == pytest.approx(1.2, abs=0.06) and record.source["file"] == record.id
    figures = record.source["cleaning"]
    assert figures["dropped_s"] == pytest.approx(4 - record.duration_s, abs=1e-3)
    assert figures["noise_db"] is None
    assert figures["lufs"] + figures["gain_db"] == pytest.approx(-20, abs=0.02)
    assert records["artist2/song2.wav"].source["cleaning"]["dropped_s"] == 0

    before = contents(tmp_path / "out")
    for other in (
        arguments,
        (*both, "--min_silent_s=3"),
        flags(songs, tmp_path / "out", codec_dir),
    ):
        assert_one_line_error(run_command(ENCODE, *other), "was made with another cleaning (")
    needs = flags(songs, tmp_path / "other", codec_dir, "--padding_s=1")
    assert_one_line_error(run_command(ENCODE, *needs), "--padding_s: needs --drop_silence")
    assert contents(tmp_path / "out") == before


def test_a_pause_with_hiss_and_the_threshold_that_drops_it(codec_dir, tmp_path, run_command):
    """5 s of hiss 42 dB below 15 s of music are above the usual threshold."""
    rng = np.random.default_rng(0)
    track_T = np.concatenate([music(8.0, 0), np.zeros(5 * RATE), music(7.0, 1)])
    level = np.sqrt(np.mean(np.square(track_T[: 8 * RATE])))
    track_T += level * 10 ** (-42 / 20) * rng.standard_normal(len(track_T))
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/x.wav", track_T, RATE, subtype="FLOAT")
    (tmp_path / "in/y.wav").write_text("text")

    arguments = flags(tmp_path / "in", tmp_path / "tried", codec_dir, "--dry_run")
    outcome = run_command(ENCODE, *arguments)
    assert outcome.code == 0, outcome.err
    assert "1 of 2 files can be used, 0.3 min" in outcome.out
    assert "y.wav: not audio" in outcome.out
    shares = dict(re.findall(r"--silence_db=(-\d+) *would drop *([\d.]+)%", outcome.out))
    assert float(shares["-40"]) == pytest.approx(100 * 4.6 / 20, abs=1) and shares["-45"] == "0.0"
    assert not (tmp_path / "tried").exists()

    for option, seconds in (("--drop_silence", 20.0), ("--silence_db=-40", 15.4)):
        output = tmp_path / option.strip("-")
        more = (option, "--splits=none")  # so that the one track is whole
        assert run_command(ENCODE, *flags(tmp_path / "in", output, codec_dir, *more)).code == 0
        (record,) = TokenDataset(output).records("train")
        assert record.duration_s == pytest.approx(seconds, abs=0.1)
    both = ("--silence_db=-40", "--active_on_db=-30")
    outcome = run_command(ENCODE, *flags(tmp_path / "in", tmp_path / "no", codec_dir, *both))
    assert_one_line_error(outcome, "--silence_db stands for both --active_on_db and")
