"""Files and plans that no report can be made of: refused in one line, or left out and listed."""

import numpy as np
import pytest
import soundfile

from tests.tokenizer_bridge.reporting.toy_report import FILES, RATE, bands
from tokenizer_bridge.fad.clips import read_levelled
from tokenizer_bridge.reporting.arguments import Reference
from tokenizer_bridge.reporting.compare import TokensNotAudio
from tokenizer_bridge.token_dataset.errors import UserError


@pytest.fixture
def broken(make, tmp_path):
    """One file is short, another no audio, a third silent where a clip lies."""
    soundfile.write(tmp_path / "real/artist0/00.wav", np.full(RATE // 4, 0.1), RATE)
    (tmp_path / "new/artist1/01.wav").write_bytes(b"no audio at all")
    half = np.concatenate([np.full(RATE, 0.1), np.zeros(RATE)])
    soundfile.write(tmp_path / "real/artist2/02.wav", half, RATE)


@pytest.mark.usefixtures("broken")
def test_unusable_files_are_refused_in_one_line(make):
    with pytest.raises(UserError, match=r"^2 of 56 files cannot be used, the first of generated: "
                       r".*01\.wav: .* or leave them out$"):  # fmt: skip
        make()
    assert make.bars == []  # refused before anything was embedded


@pytest.mark.usefixtures("broken")
def test_unusable_files_are_left_out_and_listed(make):
    report, _ = make(skip_unusable=True)
    assert [(u["set"], u["path"][-5:], u["reason"][:9]) for u in report["unusable"]] == [
        ("generated", "1.wav", "not audio"), ("real", "0.wav", "too short"),
        ("real", "2.wav", "silent fr"),
    ]  # fmt: skip
    (m,) = report["measurements"]
    assert m["generated"]["n_files"] == 19
    # The half-silent file is gone with both of its clips.
    assert (m["reference"]["n_files"], m["reference"]["n_clips"]) == (FILES - 2, 2 * FILES - 4)
    assert report["generated"]["n_files"] == 19  # those that were used
    assert "3 files were left out" in report["warnings"][-1]


@pytest.fixture
def failing(monkeypatch, tmp_path):
    """The first file of the reference cannot be read once the second embedding comes to it."""
    reads = []

    def read(clip, sample_rate, *args, **options):
        if clip.path == tmp_path / "real/artist0/00.wav":
            reads.append(clip)
            if len(reads) > 2:  # both of its clips
                raise OSError(5, "Input/output error")
        return read_levelled(clip, sample_rate, *args, **options)

    monkeypatch.setattr("tokenizer_bridge.fad.embed.read_levelled", read)


@pytest.mark.usefixtures("failing")
def test_a_file_that_fails_under_a_later_embedding_is_refused(make):
    with pytest.raises(UserError, match=r"^1 of 56 files cannot be used, the first of real: "
                       r".*00\.wav: Input/output error; .*leave them out$"):  # fmt: skip
        make([bands(), bands("again", "own")])


@pytest.mark.usefixtures("failing")
def test_a_file_that_fails_under_a_later_embedding_is_left_out_of_all(make):
    report, _ = make([bands(), bands("again", "own")], skip_unusable=True)
    bars = [title for title, *_ in make.bars]
    assert bars[:2] == ["bands", "again"] and bars.count("bands") == 1  # nothing is done again
    sizes = [(m["reference"]["n_files"], m["reference"]["n_clips"]) for m in report["measurements"]]
    assert sizes == 2 * [(FILES - 1, 2 * FILES - 2)]
    assert [(u["path"][-14:], u["reason"]) for u in report["unusable"]] == [
        ("artist0/00.wav", "Input/output error")
    ]
    first, second = (m["controls"]["real_vs_real"] for m in report["measurements"])
    assert first["fad"] == second["fad"]  # of the same halves, without a common artist


def test_clips_that_short_files_have_room_for_are_named(make, tmp_path):
    def refusal(seconds):
        soundfile.write(tmp_path / "real/artist0/00.wav", np.full(round(seconds * RATE), 0.1), RATE)
        with pytest.raises(UserError, match="^1 of 56 files") as refused:
            make(clip_s={"real": 0.55})
        return str(refused.value)

    # Two clips a file; the embedding needs 0.1 s.
    assert "all have room for clips of 0.4 s: take those, or leave" in refusal(0.99)
    assert "; mend or remove them, or leave" in refusal(0.19)
    (tmp_path / "new/artist1/01.wav").write_bytes(b"no audio at all")
    with pytest.raises(UserError, match="those too short have room for clips of 0.1 s: mend"):
        soundfile.write(tmp_path / "real/artist0/00.wav", np.full(RATE // 4, 0.1), RATE)
        make()


def test_too_few_that_are_left_are_explained(make):
    with pytest.raises(UserError, match=r"^generated: 0 usable files; distances need at least 16; "
                       r"20 cannot be used, the first: .*00\.wav: too short: 1.200"):  # fmt: skip
        make(clip_s={"real": 1.5}, skip_unusable=True)


def test_tokens_are_to_be_decoded_first(make, tmp_path):
    (tmp_path / "new/dataset.json").write_text("{}")
    with pytest.raises(TokensNotAudio, match="new: holds tokens, not audio"):
        make()


def test_a_file_found_silent_while_embedding_is_refused(make, tmp_path):
    half = np.concatenate([np.full(RATE, 0.1), np.zeros(RATE)])
    soundfile.write(tmp_path / "real/artist2/02.wav", half, RATE)
    with pytest.raises(UserError, match=r"^1 of 56 files cannot be used, the first of real"):
        make()


def test_too_few_files_are_refused_before_any_work(make, tmp_path):
    for path in sorted((tmp_path / "real").rglob("*.wav"))[31:]:
        path.unlink()
    with pytest.raises(
        UserError, match="real: 31 .* have 13; controls need 16 .* the controls out"
    ):
        make()
    for path in sorted((tmp_path / "new").rglob("*.wav"))[3:]:
        path.unlink()
    with pytest.raises(UserError, match="generated: 3 usable files; distances need at least 16"):
        make(codec=None)
    assert make.bars == []


def test_more_tracks_than_there_are(make):
    with pytest.raises(UserError, match="real has 36 tracks, fewer than 99"):
        make(num_tracks={"real": 99})


def test_folders_without_music_are_named(make, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="none: no audio files"):
        make(generated=str(tmp_path / "none"))
    with pytest.raises(UserError, match="none: no audio files"):
        make(references=[Reference("real", "folder", str(tmp_path / "none"))])


def test_halves_without_a_common_artist_that_are_too_small_are_refused_before_any_work(
    make, tmp_path
):
    files = sorted((tmp_path / "real").rglob("*.wav"))
    for i, path in enumerate(files):  # 36 files, 22 of one artist
        path.rename(tmp_path / "real" / f"artist{i >= 22:d}" / f"{i}-{path.name}")
    with pytest.raises(UserError, match="real: 36 usable files, .* have 14; controls need 16"):
        make()
    assert make.bars == []
    make(codec=None)


def test_clips_too_short_for_a_later_reference_or_embedding_are_refused_before_any_work(
    make, tmp_path
):
    references = [Reference(name, "folder", str(tmp_path / "real")) for name in ("real", "short")]
    of_both = {"real": 1, "short": 1}
    with pytest.raises(UserError, match="clips of 0.05 s: again needs at least 0.1 s"):
        make(
            [bands("again")], references=references, clip_s={"real": 0.5, "short": 0.05},
            clips_per_file={"generated": 1, **of_both}, num_tracks=dict.fromkeys(of_both, 0),
        )  # fmt: skip
    assert make.bars == []


def test_a_reference_of_which_nothing_is_left_is_refused_in_one_line(make, tmp_path):
    for path in (tmp_path / "real").rglob("*.wav"):  # silent where clips lie, as is seen later
        soundfile.write(path, np.zeros(RATE), RATE)
    with pytest.raises(UserError, match="real: 0 usable files"):
        make(skip_unusable=True)
