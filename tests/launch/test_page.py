"""The page of a run: whole in itself, with its figures and a player for every piece."""

import json
import re
import shutil

import numpy as np
import pytest
import soundfile

from launch.listening.pictures import pick
from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter
from tokenizer_bridge.wavtokenizer.registry import load_codec


@pytest.fixture
def finished_run(tmp_path, codec_dir):
    """Two tracks, two new pieces, a curve and an evaluation, as the doors leave them."""
    rng = np.random.default_rng(0)
    _, info = load_codec("toy", codec_dir=codec_dir)
    (tmp_path / "music").mkdir()
    with TokenDatasetWriter(tmp_path / "tokens", vars(info)) as writer:
        for split in ("train", "validation"):
            soundfile.write(tmp_path / f"music/{split}.wav", rng.normal(0, 0.1, 24_000), 24_000)
            tokens = rng.integers(16, size=24_000 // info.hop_length).astype(np.uint16)
            writer.write(split, Record(id=f"{split}.wav", tokens=tokens, duration_s=1.0))
    (tmp_path / "wavs").mkdir()
    with TokenDatasetWriter(tmp_path / "new", vars(info)) as writer:
        for name in ("sample_0", "sample_1"):
            soundfile.write(tmp_path / f"wavs/{name}.wav", rng.normal(0, 0.1, 2_400), 24_000)
            tokens = rng.integers(16, size=300).astype(np.uint16)
            record = Record(id=name, tokens=tokens, duration_s=0.1, source={"seed": 7})
            writer.write("generated", record)
    run = tmp_path / "run"
    run.mkdir()
    lines = [{"step": i, "nats_per_token": 8.0 / i} for i in range(1, 5)]
    lines += [{"step": 4, "validation_bits_per_token": 3.0}, {"step": 5, "nats_per_token": None}]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (run / "config.json").write_text('{"seed": 0}')
    figure = {"mean": 1.234, "standard_error": None}
    report = {"split": "validation", "num_tokens": 3000}
    report["bits_per_token"] = {name: figure for name in ("model", "bigram", "unigram")}
    (run / "evaluation_validation_4.json").write_text(json.dumps(report))
    return tmp_path


def arguments(folder, codec_dir):
    names = {"workdir": "run", "input": "music", "tokens": "tokens"}
    names |= {"generated": "new", "wavs": "wavs"}
    flags = [f"--{flag}={folder / name}" for flag, name in names.items()]
    return [*flags, f"--codec_dir={codec_dir}", "--real_s=1"]


def test_the_page_holds_everything_itself(finished_run, codec_dir, run_door):
    outcome = run_door("launch.page", *arguments(finished_run, codec_dir))
    assert outcome.code == 0, outcome.err
    html = (finished_run / "run" / "index.html").read_text()
    assert len(re.findall(r"<audio[^>]+src=\"data:audio/flac;base64,", html)) == 4  # 2 new, 1 pair
    assert not re.findall(r"(?:src|href)=\"(?!data:)", html)
    assert "1.234" in html and "sample_1" in html and "validation.wav" in html
    assert "train.wav" not in html  # held-out music is shown, where there is some


def test_without_validation_music_the_trained_on_is_shown(finished_run, codec_dir, run_door):
    shutil.rmtree(finished_run / "tokens")
    _, info = load_codec("toy", codec_dir=codec_dir)
    with TokenDatasetWriter(finished_run / "tokens", vars(info)) as writer:
        tokens = np.arange(3000, dtype=np.uint16) % 16
        writer.write("train", Record(id="train.wav", tokens=tokens, duration_s=1.0))
    outcome = run_door("launch.page", *arguments(finished_run, codec_dir))
    assert outcome.code == 0, outcome.err
    assert "train.wav" in (finished_run / "run" / "index.html").read_text()


def test_a_missing_piece_is_named(finished_run, codec_dir, run_door):
    (finished_run / "wavs" / "sample_1.wav").unlink()
    outcome = run_door("launch.page", *arguments(finished_run, codec_dir))
    assert outcome.code == 1
    assert "no sample_1.wav" in outcome.err
    assert not (finished_run / "run" / "index.html").exists()


def test_picked_records_are_spread():
    assert pick(list(range(10)), 4) == [0, 3, 6, 9]
    assert pick([1, 2], 4) == [1, 2]
