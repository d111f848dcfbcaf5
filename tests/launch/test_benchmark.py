"""The benchmark: every part gives finite figures, and a part that there is not is refused."""

import json
import math
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "launch.benchmark"]
TINY = [
    *("--config.model.num_blocks=1", "--config.model.width=16", "--config.model.num_heads=2"),
    *("--config.model.length=16", "--config.training.batch_size=8"),
    *("--config.sampling.batch_size=2", "--repeats=1", "--clip_s=3"),
]


def test_every_part_gives_figures(tmp_path):
    output = tmp_path / "new" / "figures.json"
    done = subprocess.run(
        [*COMMAND, *TINY, f"--output={output}"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(output.read_text())
    assert list(report) == ["train", "sample", "tags", "codec", "data", "bucket", "embeddings"]
    for part, figures in report.items():
        assert part in done.stdout
        for name, value in figures.items():
            assert math.isfinite(value) and name in done.stdout
            assert value > 0 or name in ("share outside the network", "requests during the steps")
    assert report["bucket"]["requests during the steps"] == 0
    ratio = report["data"]["tokens/s"] / report["train"]["tokens/s"]
    assert report["data"]["ratio to what training eats"] == pytest.approx(ratio)
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
