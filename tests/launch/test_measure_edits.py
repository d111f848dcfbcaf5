"""The figures of edits: near to whose song, and what is heard where they join."""

import numpy as np
import pytest
import soundfile

from launch import measure_edits
from launch.jobs.measure_edits import nearness, seams, summary
from tests.tokenizer_bridge.toy_songs import music
from tokenizer_bridge.codec import Codec
from tokenizer_bridge.token_dataset.errors import UserError


def test_each_goes_with_its_own_song_and_is_far_from_the_others():
    songs = np.eye(4) + 0.1
    found = nearness(songs, 3 * songs, np.arange(4))
    assert found["nearest"] == 1 and found["own"]["mean"] == pytest.approx(0, abs=1e-9)
    cosine = (2 * 1.1 * 0.1 + 2 * 0.01) / (1.1**2 + 3 * 0.01)
    for key in ("others", "others_less_own"):
        assert found[key]["mean"] == pytest.approx(1 - cosine)
    turned = nearness(songs, np.roll(songs, 1, axis=0), np.arange(4))
    assert turned["nearest"] == 0 and turned["others_less_own"]["mean"] < 0
    # Songs of one artist are none of each other's others.
    pairs = nearness(songs, np.roll(songs, 1, axis=0), np.array([0, 0, 1, 1]))
    assert pairs["others"]["mean"] == pytest.approx(0.75 * (1 - cosine))


def test_a_cut_jumps_where_a_fade_does_not(codec_dir):
    codec = Codec.load("toy", directory=codec_dir)
    slow = np.sin(np.arange(72_000) / 500).astype(np.float32)  # its changes are at most 0.002
    tokens = codec.encode(slow + 0.1 * music(3.0, 1))[None]
    found = seams(codec, slow[None], tokens, (4000, 5000))
    assert (found["faded"]["num"], found["cut"]["num"]) == (4, 2)
    assert found["cut"]["largest"] > 10 and found["cut"]["rank"] < 0.01
    assert found["faded"]["in_tail"] <= 0.5 < found["cut"]["in_tail"]


def test_the_summary_says_whose_and_how_many():
    near = nearness(np.eye(3), np.eye(3), np.arange(3))
    seam = {"num": 12, "rank": 0.4, "in_tail": 0.01, "largest": 0.5}
    report = {
        "num_songs": 3, "song_s": 12.0, "workdir": "demo", "step": 7, "sampler": "euler",
        "steps": 32, "continue_s": 10.0, "continuation": near, "real": near,
        "seams": {"faded": seam},
    }  # fmt: skip
    text = summary(report)
    assert "3 songs of 12 s" in text and "nearest to its own 100%" in text and "12 seams" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--replace_s=11.9"], "leaves nothing of a song of 12 s"),
        (["--continue_s=1"], "need 3.0 s each, for musicnn"),
        ([], "1 tracks are usable, two are needed"),
    ],
)
def test_what_cannot_be_measured_is_refused(tmp_path, words, message):
    for name, seconds in (("a.wav", 25.0), ("b.wav", 2.0)):
        soundfile.write(tmp_path / name, music(seconds, 1), 24_000)
    with pytest.raises(UserError, match=message):
        measure_edits.main(
            ["--workdir=demo", f"--audio={tmp_path}", f"--output={tmp_path / 'x.json'}", *words]
        )


def test_an_output_that_is_a_folder_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(IsADirectoryError) as raised:
        measure_edits.main(["--workdir=demo", "--audio=none", f"--output={tmp_path}"])
    assert raised.value.filename == str(tmp_path)


def test_songs_of_one_artist_have_no_others(tmp_path):
    (tmp_path / "music/Somebody").mkdir(parents=True)
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / "music/Somebody" / name, music(8.0, 1), 24_000)
    words = [
        "--song_s=4",
        "--continue_s=3.5",
        "--replace_s=1",
        "--steps=1",
        f"--output={tmp_path / 'x.json'}",
    ]
    with pytest.raises(UserError, match="all usable tracks are of one artist"):
        measure_edits.main(["--workdir=demo", f"--audio={tmp_path / 'music'}", *words])
