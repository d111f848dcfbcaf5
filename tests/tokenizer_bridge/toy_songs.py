"""Helpers of the tests of encoding: toy music, the command's flags, the files of a directory."""

import shutil
import signal
import time
from pathlib import Path

import numpy as np

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


def flags(input_dir, output, codec_dir, *more):
    return (
        f"--audio={input_dir}", f"--output={output}", "--codec=toy", f"--codec_dir={codec_dir}",
        "--window_s=1", "--overlap_s=0.2", "--batch_size=1", *more,
    )  # fmt: skip


def contents(directory) -> dict[str, bytes]:
    assert not (Path(directory) / "unfinished").exists()
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def kill_until_done(start, progress, output, kills: int) -> None:
    """Starts an encoding again and again, with SIGKILL as soon as `progress()` has grown, so many
    times at most and once at least, until it gets through."""
    killed, code = 0, None
    while code != 0:
        before = progress()
        process = start()
        while killed < kills and process.is_alive() and progress() <= before:
            time.sleep(0.002)
        if killed < kills:
            process.kill()
        process.join()
        code = process.exitcode
        assert code in (0, -signal.SIGKILL)
        killed += code != 0
        if code == 0 and not killed:  # it got through before it could be killed
            shutil.rmtree(output)
            code = None


def assert_one_line_error(outcome, text: str) -> None:
    assert outcome.code == 1
    errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and text in errors[0]
    assert "Traceback" not in outcome.err
