"""Which source a directory's layout belongs to, and what `load` refuses."""

import pytest

from tests.tokenizer_bridge.sources.layouts import make_jamendo, make_nlakh
from tokenizer_bridge.sources import detect, load, locate
from tokenizer_bridge.token_dataset.errors import UserError


def test_layouts_are_told_apart(tmp_path):
    nlakh = make_nlakh(tmp_path / "nlakh")
    assert [detect(path) for path in (nlakh, *nlakh.iterdir())] == ["nlakh"] * 3
    for low in (False, True):
        assert detect(make_jamendo(tmp_path / f"jamendo{low}", low)) == "mtg_jamendo"
    (tmp_path / "link").symlink_to(nlakh / "Nlakh-multi")
    assert detect(tmp_path / "link") == "nlakh"


def test_anything_else_is_a_folder(tmp_path):
    for name in ("empty", "48", "train/a", "Nlakh-single"):
        (tmp_path / name).mkdir(parents=True)
    assert detect(tmp_path / "empty") == "folder"
    assert detect(tmp_path / "Nlakh-single") == "folder"  # no split in it
    (tmp_path / "48/49.mp3").write_bytes(b"")  # Jamendo's 49 lies in 49
    (tmp_path / "train/a/x.wav").write_bytes(b"")
    assert detect(tmp_path) == "folder"
    (tmp_path / "48/948.mp3").write_bytes(b"")
    assert detect(tmp_path) == "mtg_jamendo"
    with pytest.raises(UserError, match="no: no such folder"):
        detect(tmp_path / "no")


def test_a_source_may_be_said(tmp_path):
    nlakh = make_nlakh(tmp_path / "nlakh")
    odd = tmp_path / "a:b"
    odd.mkdir()
    assert locate(str(nlakh)) == ("nlakh", str(nlakh))
    assert locate(f"folder:{nlakh}") == ("folder", str(nlakh))
    assert locate(str(odd)) == ("folder", str(odd))
    for place in (f"folder:{nlakh}/no", f"{nlakh}/no"):
        with pytest.raises(UserError, match="/no: no such folder"):
            locate(place)


def test_options_of_other_sources_are_refused(tmp_path):
    make_nlakh(tmp_path)
    for option in ("metadata", "split_files", "checksums", "bitrate"):
        with pytest.raises(UserError, match=f"{option}: only the source mtg_jamendo has it"):
            load("nlakh", tmp_path, **{option: "low"})
    with pytest.raises(UserError, match="tags=folders: only the source folder has it, not nlakh"):
        load("nlakh", tmp_path, tags="folders")
    with pytest.raises(UserError, match="source 'jamendo' is unknown: one of folder, mtg_jamendo"):
        load("jamendo", tmp_path)
    assert len(load("nlakh", tmp_path, num_tracks=2)) == 2
