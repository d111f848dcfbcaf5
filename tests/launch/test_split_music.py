"""Links to what is learnt from and to what is held out."""

import pytest

from launch.split_music import split_music
from tokenizer_bridge import sources
from tokenizer_bridge.sources.splits import assign_splits
from tokenizer_bridge.token_dataset.errors import UserError


@pytest.fixture
def music(tmp_path):
    """A folder of 40 files by 20 artists, of whom a table tells."""
    rows = ["path,artist,tags"]
    for i in range(40):
        file = tmp_path / f"music/{'jig' if i % 2 else 'reel'}/{i}.flac"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(i))
        rows.append(f"{file.relative_to(tmp_path / 'music')},tune/{i // 2}.abc,")
    (tmp_path / "music/tags.csv").write_text("\n".join(rows) + "\n")
    return sources.load("folder", tmp_path / "music", tags=str(tmp_path / "music/tags.csv"))


def test_folders_have_the_artists_and_the_splits(music, tmp_path):
    counts = split_music(music, tmp_path / "links")
    splits = assign_splits({track.id: track.artist for track in music})
    assert sum(counts.values()) == 40 and counts["held_out"] >= 4
    for folder, count in counts.items():
        found = sources.load("folder", tmp_path / "links" / folder)
        assert len(found) == count
        numbers = {track.path.read_text() for track in found}
        wanted = {t.path.stem for t in music if (splits[t.id] == "train") == (folder == "train")}
        assert numbers == wanted
        assert {track.path.name for track in found} == {f"{number}.flac" for number in numbers}
        for track in found:
            assert track.artist == f"tune_{int(track.path.read_text()) // 2}.abc"


def test_a_repeated_command_changes_nothing(music, tmp_path):
    split_music(music, tmp_path / "links")
    before = {path: path.lstat().st_mtime_ns for path in (tmp_path / "links").rglob("*")}
    split_music(music, tmp_path / "links")
    assert {path: path.lstat().st_mtime_ns for path in (tmp_path / "links").rglob("*")} == before


def test_other_music_in_the_folder_is_refused(music, tmp_path):
    split_music(music, tmp_path / "links")
    with pytest.raises(UserError, match="is other music"):
        split_music(music[:20], tmp_path / "links")
    one = next(path for path in (tmp_path / "links").rglob("*.flac"))
    one.unlink()
    one.write_text("no link")
    with pytest.raises(UserError, match="is not a link to"):
        split_music(music, tmp_path / "links")
