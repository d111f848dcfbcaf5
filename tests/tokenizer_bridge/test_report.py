"""The command: a report from folders to files, with the shipped embedding; what it refuses."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

REPORT = "tokenizer_bridge.report"
RATE = 16_000


@pytest.fixture
def music(tmp_path):
    """16 files each of two kinds of noise, long enough for a window of musicnn."""
    rng = np.random.default_rng(0)
    for name, low_pass in (("real", 1), ("new", 8)):
        (tmp_path / name).mkdir()
        for i in range(16):
            noise = rng.normal(0, 0.1, 3 * RATE + low_pass)
            smooth = np.convolve(noise, np.full(low_pass, 1 / low_pass), "valid")
            soundfile.write(tmp_path / name / f"{i:02d}.flac", smooth, RATE)
    return tmp_path


def flags(folder, *more):
    return (
        f"--audio={folder / 'new'}", f"--reference=mine={folder / 'real'}", "--clip_s=3",
        f"--output={folder / 'report'}", f"--cache_dir={folder / 'cache'}", *more,
    )  # fmt: skip


def test_folders_to_report(music, run_command):
    outcome = run_command(REPORT, *flags(music, "--no_controls"))
    assert outcome.code == 0, outcome.err
    report = json.loads((music / "report/report.json").read_text())
    (m,) = report["measurements"]
    assert m["fad"] > 1 and m["embedding"]["name"] == "musicnn"
    assert "this run, FAD" in outcome.out and "below 100" in outcome.out  # few files: a warning
    html = (music / "report/report.html").read_text()
    assert html.count("<audio") == 3 and not re.findall(r"(?:src|href)=\"(?!data:|#)", html)
    assert m["embedding"]["weights_sha256"] in (music / "report/report.md").read_text()
    assert {path.name for path in (music / "report").iterdir()} == {
        "report.html", "report.json", "report.md",
    }  # fmt: skip


def test_flags_that_are_wrong_are_one_line(run_command):
    for arguments, text in (
        (("--audio=x",), "--reference and --output are required"),
        (("--audio=x", "--reference=a=b"), "--output is required"),
        (("--seed=x",), "--seed: 'x' is no integer"),
        (("--sead=1",), "there is no argument --sead; did you mean --seed?"),
    ):
        outcome = run_command(REPORT, *arguments)
        assert (outcome.code, outcome.err) == (1, f"error: {text}\n")


def test_the_example_of_the_help_can_be_copied(run_command):
    help = ast.get_docstring(ast.parse(Path(importlib.util.find_spec(REPORT).origin).read_text()))
    assert "--reference jamendo=JAMENDO \\\n" in help
    outcome = run_command(REPORT, "--help")
    assert outcome.code == 0 and "vggish-pca" in outcome.out


def test_mistakes_are_one_line_and_leave_no_report(music, run_command):
    (music / "real/03.flac").write_bytes((music / "real/03.flac").read_bytes()[:3000])
    (music / "none").mkdir()
    for more, text in (
        (("--no_controls",), "1 of 32 files cannot be used, the first of mine: "),
        (("--no_controls",), "leave them out (--skip_unusable)"),
        (("--embeddings=vggisch",), "error: vggisch: no such embedding"),
        (("--clip_s=other=3",), "--clip_s: other=3: no set is called 'other'"),
        (("--loudness=-1000",), "--loudness: -1000 LUFS: must be in (-70, 0]"),
        (("--no_controls", "--device=moon"), "device moon cannot be used: "),
        (("--no_controls", "--device=meta"), "device meta cannot be used: "),
        (("--output=/proc/report",), "error: /proc/report: "),
        (("--weights=vggish=x.pth",), "--weights=vggish=…: no embedding"),
        ((f"--codec_dir={music / 'none'}",), "error: "),
    ):
        outcome = run_command(REPORT, *flags(music, *more))
        assert outcome.code == 1, more
        errors = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and text in errors[0] and "Traceback" not in outcome.err
        assert list((music / "report").glob("*")) == []
    (music / "new/dataset.json").write_text("{}")
    outcome = run_command(REPORT, *flags(music, "--no_controls"))
    assert outcome.code == 1 and outcome.err.endswith(
        f"python -m tokenizer_bridge.decode --tokens={music / 'new'} --output=WAVS, then "
        "--audio=WAVS\n"
    )
