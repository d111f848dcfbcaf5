"""The benchmark: every part gives finite figures, and a part that there is not is refused."""

import json
import math
import subprocess
import sys

import jax
import pytest

from launch.benchmark import fed, make_parser
from launch.benchmark_data import tracks_like_songs
from sedd_jax.errors import UserError

COMMAND = [sys.executable, "-m", "launch.benchmark"]
TINY = [
    *("--config.model.num_blocks=1", "--config.model.width=16", "--config.model.num_heads=2"),
    *("--config.model.length=16", "--config.training.batch_size=8"),
    *("--config.sampling.batch_size=2", "--repeats=1", "--clip_s=3", "--tracks=64"),
]


def test_every_part_gives_figures(tmp_path):
    output = tmp_path / "new" / "figures.json"
    options = ["--config.sampling.sampler=trapezoidal", "--readers=2"]
    command = [*COMMAND, *TINY, *options, f"--output={output}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text())
    assert list(report) == ["train", "sample", "tags", "codec", "data", "bucket", "embeddings"]
    for part, figures in report.items():
        assert part in done.stdout
        for name, value in figures.items():
            assert math.isfinite(value) and name in done.stdout
            assert value > 0 or name in ("share outside the network", "requests during the steps")
    assert report["bucket"]["requests during the steps"] == 0
    data, eats = report["data"], report["train"]["tokens/s"]
    assert data["tracks"] == 64 and data["processes at once"] == 2
    assert data["tokens/s that training eats"] == eats
    assert data["ratio of reading to that"] == pytest.approx(data["tokens/s"] / eats)
    both = data["tokens/s of them together"]
    assert data["ratio of all processes to that"] == pytest.approx(both / eats)
    sample = report["sample"]
    assert sample["network evaluations a step"] == 2
    rows = -(-2 // jax.device_count()) * jax.device_count()  # what is asked for, on all devices
    rate = 2 * rows * 16 / sample["seconds a step"]  # evaluations × batch × length
    assert sample["tokens/s per network evaluation"] == pytest.approx(rate)
    networks = ("musicnn", "vggish", "vggish-pca", "cnn14-16k", "cnn14-32k")
    assert {f"{name}, × real time" for name in networks} < report["embeddings"].keys()


@pytest.mark.parametrize("parts, line", [
    ("", "error: --parts: '' has an empty item"),
    ("train,smaple",
     "error: --parts: 'smaple' is none of train, sample, tags, codec, data, bucket, embeddings"),
])  # fmt: skip
def test_a_part_that_there_is_not_is_refused(parts, line):
    done = subprocess.run([*COMMAND, f"--parts={parts}"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, line + "\n")


def test_rows_that_the_devices_do_not_divide_are_refused():
    command = [*COMMAND, *TINY, "--parts=train", "--config.training.batch_size=9"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "error: config.training.batch_size 9 must be a multiple of 8 devices" in done.stderr


def test_the_rate_that_training_eats_is_that_of_a_compiled_step(tmp_path):
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"program": "train step", "tokens_per_s": 6e6}))
    arguments = make_parser().parse_args([f"--eats={report}"])
    assert arguments.eats == 6e6
    data = {"tokens/s": 9e6, "tokens/s of them together": 18e6, "tokens a second of CPU time": 4e6}
    ratios = fed(data, arguments.eats)
    assert ratios["ratio of reading to that"] == 1.5
    assert ratios["ratio of all processes to that"] == 3
    assert ratios["cores that read twice that"] == 3
    report.write_text(json.dumps({"program": "sampler, 4 of 128 steps", "tokens_per_s": 6e6}))
    with pytest.raises(UserError, match="report.json is no report of launch.compile_check on"):
        make_parser().parse_args([f"--eats={report}"])
    report.write_text("no JSON")
    with pytest.raises(UserError, match="is no report of launch.compile_check"):
        make_parser().parse_args([f"--eats={report}"])
    with pytest.raises(UserError, match="'gone.json' is neither a number above 0 nor a file"):
        make_parser().parse_args(["--eats=gone.json"])


def test_tracks_are_as_long_as_those_of_the_collection_that_they_stand_for():
    tokens_T = tracks_like_songs(55_701)
    assert tokens_T.sum() == pytest.approx(1.02e9, rel=0.01) and tokens_T.min() > 1024
