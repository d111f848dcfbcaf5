"""The list of files that a data set is made of."""

import json

import numpy as np

from launch.jobs.files_used import files_used
from tests.tokenizer_bridge.toy_songs import CODEC
from tokenizer_bridge.token_dataset.records import Record, TokenDatasetWriter


def test_files_used_and_left_out(tmp_path):
    with TokenDatasetWriter(tmp_path, CODEC) as writer:
        for i in range(32):
            for split, seconds in (("train", 60.5), ("validation", 15.5)):
                source = {"file": f"{i:02d}.wav"}
                record = Record(f"track{i}", np.zeros(9, np.uint16), seconds, source=source)
                writer.write(split, record)
    assert list(files_used(tmp_path)) == [
        "files used: 32", *(f"  {i:02d}.wav (1:16)" for i in range(30)), "  and 2 more",
    ]  # fmt: skip
    failure = {"id": "x.mp3", "file": "/a/x.mp3", "reason": "empty"}
    (tmp_path / "failures.jsonl").write_text(json.dumps(failure) + "\n")
    assert list(files_used(tmp_path))[-2:] == ["files left out: 1", "  x.mp3: empty"]
