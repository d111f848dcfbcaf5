"""From folders of music to a report, with a network small enough to know what it hears."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile

from tests.tokenizer_bridge.reporting.toy_report import FILES, RATE, bands, write_music
from tokenizer_bridge.fad.embed import EmbedOptions
from tokenizer_bridge.reporting.arguments import Reference
from tokenizer_bridge.reporting.compare import reference_tracks
from tokenizer_bridge.reporting.markdown import as_markdown
from tokenizer_bridge.reporting.page import as_page
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import file_sha256


def test_a_jamendo_without_its_tsv_is_told_by_the_flags_of_a_report(tmp_path):
    with pytest.raises(UserError, match="the official one, or put it there alone"):
        reference_tracks(Reference("mine", "mtg_jamendo", str(tmp_path)), 0, 0)


def test_a_whole_report(make, tmp_path):
    report, shown = make()
    json.dumps(report, allow_nan=False)
    (m,) = report["measurements"]
    assert m["generated"] | {"name": None} == {
        "name": None, "n_files": 20, "n_clips": 20, "n_vectors": 100, "n_artists": 0,
        "n_effective": 20, "drawn": "files",
    }  # fmt: skip
    assert (m["reference"]["n_files"], m["reference"]["n_clips"]) == (FILES, 2 * FILES)
    assert m["reference"]["directory"] == str(tmp_path / "real")
    assert m["clips_per_file"] == {"generated": 1, "real": 2}
    assert len(m["per_file"]) == 20
    # Low-passed noise is further from noise than noise is; silence is furthest.
    controls = m["controls"]
    assert controls["real_vs_real"]["fad"] < m["fad"] < controls["silence"]["fad"]
    assert {c["generated"]["n_files"] for c in controls.values()} == {18}  # half of the reference
    assert report["unusable"] == []
    # What the page shows: a vector a clip, and the files at the ends of the ranking.
    vectors = {name: v.shape for name, v in shown[0].vectors.items()}
    assert vectors["generated"] == (20, 3) and vectors["reference"] == (2 * FILES, 3)
    assert set(controls) < set(vectors)
    fads = [entry["fad"] for entry in m["per_file"]]
    assert [heard.fad for heard in shown[0].heard] == [min(fads), sorted(fads)[9], max(fads)]
    assert all(len(heard.audio_T) == RATE // 2 for heard in shown[0].heard)
    assert all(steps == total for _, total, steps in make.bars), make.bars
    assert make.bars_of_files == [("lengths, for real", 20 + FILES, 20 + FILES)]
    assert "<svg" in as_page(report, shown) and "| white noise |" in as_markdown(report)


def test_controls_take_no_more_files_than_were_generated(make, tmp_path):
    for path in sorted((tmp_path / "new").rglob("*.wav"))[16:]:
        path.unlink()
    controls = make()[0]["measurements"][0]["controls"]
    sizes = {(c["generated"]["n_files"], c["reference"]["n_files"]) for c in controls.values()}
    assert sizes == {(16, 18)}
    assert dict((title, total) for title, total, _ in make.bars)["controls of real"] == 2 * 2 * 16


def test_clips_of_which_much_is_unheard_are_warned_of(make):
    def warnings(clip_s):
        report, _ = make(clip_s={"real": clip_s}, codec=None)
        return [line for line in report["warnings"] if "heard" in line]

    assert warnings(0.13) == []
    assert warnings(0.14) == [
        "bands against real: of each clip of 0.14 s only 0.1 s are heard (windows: 1); "
        "clips of 0.1 s would lose next to nothing"
    ]


def test_done_again_from_the_cache_it_is_the_same(make):
    first = make()[0]
    network = bands()
    network.network.forward = None  # nothing of the files may be embedded anew
    again, _ = make([network], codec=None)
    assert again["measurements"][0]["fad"] == first["measurements"][0]["fad"]
    assert again["measurements"][0]["controls"] == {}


def test_files_are_hashed_once_whatever_is_made_of_them(make, tmp_path, monkeypatch):
    hashed = []

    def sha256(path):
        hashed.append(path)
        return file_sha256(path)

    monkeypatch.setattr("tokenizer_bridge.token_dataset.files.file_sha256", sha256)
    options = {"clips_per_file": {"generated": 2, "real": 2}}
    make([bands(), bands("again", "own")], **options)
    assert sorted(hashed) == sorted([*tmp_path.glob("new/*/*"), *tmp_path.glob("real/*/*")])
    write_music(tmp_path / "new", 1, seed=5, seconds=1.3)
    make(codec=None, **options)
    assert hashed[20 + FILES :] == [tmp_path / "new/artist0/00.wav"]


@pytest.mark.parametrize("num_workers", [1, 3])
def test_the_number_of_workers_holds_for_all_threads(make, tmp_path, monkeypatch, num_workers):
    pools = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, max_workers, **options):
            pools.append(max_workers)
            super().__init__(max_workers, **options)

    for module in ("fad.clips", "devices"):
        monkeypatch.setattr(f"tokenizer_bridge.{module}.ThreadPoolExecutor", Pool)
    make(options=EmbedOptions(tmp_path / "cache", num_workers, 8, None))
    # Planning of two sets; embedding of them, of three controls and of silence, for which one
    # thread needs no pool.
    assert pools == (2 if num_workers == 1 else 2 + 6) * [num_workers]


def test_two_embeddings_and_two_references_give_four_measurements(make, tmp_path):
    write_music(tmp_path / "other", FILES, low_pass=3, seed=2)
    references = [
        Reference("real", "folder", str(tmp_path / "real")),
        Reference("other", "folder", str(tmp_path / "other")),
    ]
    report, shown = make(
        [bands(), bands("again", "own")],
        references=references,
        clip_s={"real": 0.5, "other": 0.3},
        clips_per_file={"generated": 2, "real": 1, "other": 1},
        num_tracks={"real": 0, "other": FILES - 1},
        codec=None,
    )
    found = [
        (m["embedding"]["name"], m["reference"]["name"], m["clip_s"], m["generated"]["n_vectors"])
        for m in report["measurements"]
    ]
    assert found == [
        ("bands", "real", 0.5, 200), ("again", "real", 0.5, 200),
        ("bands", "other", 0.3, 120), ("again", "other", 0.3, 120),
    ]  # fmt: skip
    assert report["measurements"][2]["reference"]["n_files"] == FILES - 1
    assert len(shown) == 4
    assert [line for line in report["warnings"] if "not the published" in line] == [
        "again: own weights, not the published ones: nothing published compares with its figures"
    ]


def test_silent_generated_files_count(make, tmp_path):
    without = make(codec=None)[0]["measurements"][0]
    for i in range(3):
        soundfile.write(tmp_path / f"new/artist0/{4 * i:02d}.wav", np.zeros(RATE), RATE)
    for _ in range(2):  # the second time most is in the cache
        report, shown = make(codec=None)
        (m,) = report["measurements"]
        assert m["generated"]["n_files"] == 20 and report["unusable"] == []
        assert m["fad"] > 2 * without["fad"]
        assert "3 of 20 generated clips are silent; they count" in report["warnings"]
        as_page(report, shown)
    soundfile.write(tmp_path / "real/artist0/00.wav", np.zeros(RATE), RATE)
    with pytest.raises(UserError, match=r"^1 of 56 files .* first of real: .*00\.wav: silent"):
        make(codec=None, clips_per_file={"generated": 1, "real": 1})  # the clips that passed above


def at_loudness(tmp_path, lufs):
    return {"options": EmbedOptions(tmp_path / "cache", 1, 8, lufs)}


def test_at_one_loudness_levels_do_not_matter(make, tmp_path):
    def fads():
        (m,) = make(**at_loudness(tmp_path, -40.0))[0]["measurements"]
        assert m["loudness"] == "-40 LUFS, as far as peaks allow"
        controls = (
            "real_vs_real",
            "white_noise",
            "silence",
        )  # of all that the codec has no part in
        return [m["fad"], *(m["controls"][name]["fad"] for name in controls)]

    loud = fads()
    write_music(tmp_path / "real", FILES, gain=0.1)
    assert fads() == pytest.approx(loud, rel=1e-3)


def test_clips_that_do_not_reach_the_loudness_are_counted(make, tmp_path):
    assert not [line for line in make(codec=None)[0]["warnings"] if "loudness" in line]
    for folder, click in (("real", 0.9), ("new", 0.5)):
        path = tmp_path / folder / "artist1/01.wav"
        audio_T, _ = soundfile.read(path)
        audio_T *= 0.01
        audio_T[len(audio_T) // 2] = click
        if folder == "real":  # each of its two clips lies around a quarter
            audio_T[[len(audio_T) // 4, 3 * len(audio_T) // 4]] = click
        soundfile.write(path, audio_T, RATE)
    for _ in range(2):  # from files and from the cache
        report, _ = make(codec=None, **at_loudness(tmp_path, -30.0))
        (line,) = [line for line in report["warnings"] if "loudness" in line]
        start = (
            "loudness -30 LUFS: 1 of 20 clips of generated and 2 of 72 clips of real stay below "
            "it, as their peaks leave no room; "
        )
        assert line.startswith(start) and line.endswith(" LUFS would be reached by all")
    reached = float(line.removeprefix(start).split()[0])
    assert -70 < reached < -30
    report, _ = make(codec=None, **at_loudness(tmp_path, reached))
    assert not [line for line in report["warnings"] if "loudness" in line]
    report, _ = make(codec=None, **at_loudness(tmp_path, reached + 1))
    assert [line for line in report["warnings"] if "loudness" in line]


def test_names_that_are_no_text(make, tmp_path):
    new = tmp_path / os.fsdecode(b"new\xff")
    (tmp_path / "new").rename(new)
    for i, path in enumerate(sorted(new.rglob("*.wav"))):
        path.rename(path.with_name(os.fsdecode(b"\xfe") + f"{i}.wav"))
    (new / os.fsdecode(b"bad\xfd.wav")).touch()
    report, shown = make(generated=str(new), skip_unusable=True, codec=None)
    for text in (json.dumps(report, ensure_ascii=False), as_page(report, shown)):
        assert r"new\xff" in text.encode().decode().replace(r"\\", "\\")
    as_markdown(report).encode()
    assert report["unusable"][0]["path"].endswith(r"new\xff/bad\xfd.wav")
    assert report["measurements"][0]["per_file"][0]["id"].startswith(r"artist0/\xfe")


def test_rates_that_nothing_plays(make, tmp_path):
    for path in (tmp_path / "new").rglob("*.wav"):
        soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 50_000), 65_537)
    report, shown = make(codec=None)
    assert {heard.sample_rate for heard in shown[0].heard} == {48_000}
    assert as_page(report, shown).count("data:audio/flac") == 3


def test_files_on_both_sides_are_told(make, tmp_path):
    report, _ = make(codec=None)
    assert not [line for line in report["warnings"] if "as well" in line]
    for path in sorted((tmp_path / "real/artist0").iterdir())[:3]:
        (tmp_path / "new" / path.name).symlink_to(path)
    report, _ = make(codec=None)
    assert "3 generated files are files of real as well" in report["warnings"]
