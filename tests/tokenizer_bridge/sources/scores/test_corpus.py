"""A corpus on disk: what is in it, and a command that is killed, repeated or misused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tests.tokenizer_bridge.sources.scores.toy_scores import Sines, chorale, tune
from tokenizer_bridge import sources
from tokenizer_bridge.sources.scores import corpus, reading
from tokenizer_bridge.token_dataset.errors import UserError

SCORES = {f"ryansMammoth/{i}.abc": tune(i, "reel" if i % 2 else "jig", length=24) for i in range(6)}
SCORES |= {f"bach/{i}.mxl": chorale(i) for i in range(2)}
SCORES["ryansMammoth/5.abc"] = replace(  # another version of the fourth tune
    SCORES["ryansMammoth/3.abc"],
    id="book/5.abc",
    notes=tuple(replace(note, pitch=note.pitch + 2) for note in SCORES["ryansMammoth/3.abc"].notes),
)


@pytest.fixture
def make_job(tmp_path, monkeypatch):
    """Jobs on a folder of eight scores and one that cannot be read; without music21."""
    for name in [*SCORES, "ryansMammoth/bad.abc"]:
        file = tmp_path / "scores" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)

    def read(path, name):
        if name not in SCORES:
            raise ValueError("no key that is known")
        return SCORES[name]

    monkeypatch.setattr(reading, "read_score", read)
    monkeypatch.setattr(corpus, "version", lambda package: "1")

    def job(output="corpus", hours=0.01, seed=0, **options):
        synthesizer = Sines(tmp_path / "font.sf2", **options)
        return corpus.CorpusJob(tmp_path / output, hours, seed, tmp_path / "scores", synthesizer)

    return job


def run(job):
    if (summary := corpus.begin(job)) is not None:
        return summary
    scores, unusable = corpus.load_scores(job)
    results = list(corpus.render(job, corpus.planned(job, scores), num_workers=2))
    return corpus.finish(job, scores, unusable, results)


def test_files_tags_notes_and_summary_agree(make_job):
    job = make_job()
    summary = run(job)
    tracks = sources.load("folder", job.output, tags=str(job.output / "tags.csv"))
    assert len(tracks) == summary["pieces"] > 3
    seconds = [soundfile.info(track.path).duration for track in tracks]
    assert sum(seconds) / 3600 == pytest.approx(summary["rendered_hours"], abs=1e-3)
    assert summary["rendered_hours"] >= 0.01
    for track in tracks:
        categories = [tag.partition("---")[0] for tag in track.tags]
        assert categories == ["instrument", "genre", "key", "mode", "metre", "tempo"]
        assert track.id.startswith(track.tags[1].removeprefix("genre---"))
    assert summary["unusable_scores"] == {"ryansMammoth/bad.abc": "no key that is known"}
    lines = (job.output / "notes.jsonl").read_text().splitlines()
    notes = {entry["path"]: entry["notes"] for entry in map(json.loads, lines)}
    assert notes.keys() == {track.id for track in tracks}
    audio, rate = soundfile.read(tracks[0].path)
    start, end, pitch, _ = notes[tracks[0].id][8]
    if "chorale" not in tracks[0].id:
        heard = audio[round(start * rate) : round(end * rate)]
        peak = np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 96000)).argmax() / 4
        assert abs(12 * np.log2(peak / 440) + 69 - pitch) < 0.5


def test_renderings_and_versions_of_one_tune_have_one_artist(make_job):
    job = make_job(hours=0.03)
    run(job)
    tracks = sources.load("folder", job.output, tags=str(job.output / "tags.csv"))
    artists = {}
    for track in tracks:
        name = track.id.partition("-")[0]
        artists.setdefault(name, set()).add(track.artist)
    assert len(artists) == 8 and all(len(names) == 1 for names in artists.values())
    assert artists["reel/5"] == artists["reel/3"]
    assert artists["reel/1"].isdisjoint(artists["reel/3"])


def test_the_same_seed_gives_the_same_corpus(make_job):
    first, again = run(make_job("a")), run(make_job("b"))
    assert first == again
    assert run(make_job("c", seed=1))["audio_sha256"] != first["audio_sha256"]


def test_a_killed_command_goes_on(make_job):
    whole = run(make_job("whole"))
    job = make_job()
    corpus.begin(job)
    scores, _ = corpus.load_scores(job)
    rendering = corpus.render(job, corpus.planned(job, scores))
    next(rendering)
    rendering.close()
    assert 0 < job.synthesizer.rendered < whole["pieces"]
    with open(job.output / "scores.jsonl", "a") as file:
        file.write('{"file": "cut')
    again = make_job()
    assert run(again) == whole
    assert again.synthesizer.rendered == whole["pieces"] - job.synthesizer.rendered
    assert run(make_job()) == whole


def test_scores_are_read_once(make_job, monkeypatch):
    job = make_job()
    corpus.begin(job)
    first = corpus.load_scores(job)

    def read(path, name):
        raise AssertionError("read again")

    monkeypatch.setattr(reading, "read_score", read)
    assert corpus.load_scores(job) == first
    (job.scores / "bach/0.mxl").write_text("changed")
    assert corpus.load_scores(job)[1]["bach/0.mxl"] == "read again"


def test_few_scores_are_spread_over_both_books(make_job):
    job = replace(make_job(), num_scores=5)
    corpus.begin(job)
    scores, unusable = corpus.load_scores(job)
    names = [score.id for score in scores]
    assert len(names) + len(unusable) == 5
    assert any("bach" in name for name in names) and any("bach" not in name for name in names)
    assert len(corpus.load_scores(replace(job, num_scores=100))[0]) == len(SCORES)
    with pytest.raises(UserError, match="num_scores 5, not None"):
        corpus.begin(make_job())


def test_other_settings_are_refused(make_job):
    run(make_job())
    with pytest.raises(UserError, match="holds a corpus with hours 0.01, not 0.05"):
        corpus.begin(make_job(hours=0.05))


def test_a_folder_of_something_else_is_refused(make_job, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus/mine.txt").write_text("")
    with pytest.raises(UserError, match="not empty"):
        corpus.begin(make_job())


def test_what_cannot_be_rendered_is_named(make_job):
    summary = run(make_job(refused=(0,)))
    assert summary["not_rendered"]
    assert all("-piano-" in path for path in summary["not_rendered"])
    assert set(summary["not_rendered"].values()) == {"no such instrument"}
    assert "instrument---piano" not in summary["tags"]
