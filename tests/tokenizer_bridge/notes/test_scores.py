"""Files of known notes."""

import json
from pathlib import Path

import pytest

from tokenizer_bridge.notes.scores import read_scores, scores_of
from tokenizer_bridge.token_dataset.errors import UserError


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_scores_are_found_by_the_names_of_files(tmp_path):
    first = write(
        tmp_path / "a.jsonl",
        json.dumps({"path": "jig/A.flac", "notes": [[0.5, 1, 62, 80], [0, 1, 60, 80]]}),
        json.dumps({"path": "jig/B.flac", "notes": []}),
    )
    second = write(tmp_path / "b.jsonl", json.dumps({"path": "reel/B.flac", "notes": []}))
    scores = read_scores([first, second])
    assert [path for path, _ in scores] == ["jig/A.flac", "jig/B.flac", "reel/B.flac"]
    link = tmp_path / "jig_A.flac"
    link.symlink_to(tmp_path / "A.flac")
    ours = {"x": Path("tunes/A.flac"), "y": Path("B.flac"), "z": Path("C.flac"), "link": link}
    found = scores_of(scores, ours)
    assert list(found) == ["x", "link"]  # two pieces are called B
    assert found["x"].pitch_N.tolist() == [60, 62] == found["link"].pitch_N.tolist()


@pytest.mark.parametrize("line", [
    "no JSON", "[]", '{"notes": []}', '{"path": "a", "notes": [[1]]}', '{"path": "a", "notes": 3}',
    '{"path": 5, "notes": []}', '{"path": "a", "notes": [[0, NaN, 60]]}',
    '{"path": "a", "notes": [[2, 1, 60]]}', '{"path": "a", "notes": [[0, 1, 1e999]]}',
    '{"path": "a", "notes": [[0, 1, 128]]}',
])  # fmt: skip
def test_a_line_that_is_no_piece_is_named(tmp_path, line):
    path = write(tmp_path / "a.jsonl", '{"path": "a", "notes": []}', line)
    with pytest.raises(UserError, match=r"a\.jsonl, line 2: no piece with a path and notes"):
        read_scores([path])
