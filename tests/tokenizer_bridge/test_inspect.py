"""The command: text, page and JSON of a dataset; what it refuses."""

import json
import re

import numpy as np

from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter

INSPECT = "tokenizer_bridge.inspect"
CODEC = {
    "name": "toy", "weights_sha256": "0" * 64, "sample_rate": 24_000, "hop_length": 320,
    "codebook_size": 4096,
}  # fmt: skip


def write_dataset(path):
    rng = np.random.default_rng(0)
    with TokenDatasetWriter(path, CODEC) as writer:
        for split, count in (("train", 5), ("validation", 2)):
            for i in range(count):
                tokens = rng.integers(0, 4096, 500 + 100 * i).astype(np.uint16)
                tags = (f"genre---<{i}>",)
                writer.write(split, Record(f"{split}/{i}", tokens, 6.7, f"artist {split}", tags))


def test_text_page_and_json(tmp_path, run_command):
    write_dataset(tmp_path / "tokens")
    outcome = run_command(
        INSPECT, f"--tokens={tmp_path / 'tokens'}", f"--output={tmp_path / 'out'}"
    )
    assert outcome.code == 0, outcome.err
    assert "train: 5 tracks, 0.01 h, 3,500 tokens" in outcome.out
    summary = json.loads((tmp_path / "out/inspect.json").read_text())
    assert summary["splits"]["validation"]["tracks"] == 2
    page = (tmp_path / "out/inspect.html").read_text()
    assert page.count("<svg") == 3  # entropies, lengths of two splits
    assert "&lt;0&gt;" in page and "<0>" not in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert "<script" not in page and "url(http" not in page


def test_a_page_goes_to_an_object_store(tmp_path, run_command):
    write_dataset(tmp_path / "tokens")
    outcome = run_command(
        INSPECT, f"--tokens={tmp_path / 'tokens'}", f"--output=file://{tmp_path}/bucket/out"
    )
    assert f"page written to file://{tmp_path}/bucket/out/inspect.html" in outcome.out, outcome.err
    names = sorted(path.name for path in (tmp_path / "bucket/out").iterdir())
    assert names == ["inspect.html", "inspect.json"]


def test_without_output_nothing_is_written(tmp_path, run_command):
    write_dataset(tmp_path / "tokens")
    before = sorted(tmp_path.rglob("*"))
    assert run_command(INSPECT, f"--tokens={tmp_path / 'tokens'}").code == 0
    assert sorted(tmp_path.rglob("*")) == before


def test_mistakes_are_one_line(tmp_path, run_command):
    for arguments, text in (
        ((), "error: --tokens is required"),
        ((f"--tokens={tmp_path}", "more"), "error: unexpected argument 'more'"),
        ((f"--tokens={tmp_path}",), "is not a whole token dataset"),
    ):
        outcome = run_command(INSPECT, *arguments)
        assert outcome.code == 1
        assert text in outcome.err and outcome.err.count("\n") == 1
