"""Scores read through music21, where it is installed."""

import sys
from pathlib import Path

import pytest

from tests.tokenizer_bridge.sources.scores.toy_scores import chorale
from tokenizer_bridge.sources.scores import reading
from tokenizer_bridge.sources.scores.score import Note, Score
from tokenizer_bridge.token_dataset.errors import UserError

TUNE = """X: 1
T: Nobody's -- Jig
R: jig
M: 6/8
L: 1/8
K: Edor
B|"4"EFG ABc|{c}d3 [Ad]3|EFG A3-|A3 G2:|
|:B|EFG ABc|d3 c3|EFG A3|G3 E2:|
"""


def test_genres_go_by_kind_and_metre():
    assert reading.genre_of("jig", "6/8") == "jig"
    assert reading.genre_of("jig", "9/8") == "slipjig"
    assert reading.genre_of("reel", "2/2") == "reel"
    with pytest.raises(ValueError, match="a jig in 2/4"):
        reading.genre_of("jig", "2/4")


def test_a_key_is_told_by_its_notes_and_by_the_end():
    scale = [0, 2, 4, 5, 7, 9, 11]  # of C major and A minor
    rising = [Note(float(i), 1.0, 60 + step) for i, step in enumerate(scale)]
    assert reading.estimate_key([*rising, Note(7.0, 2.0, 48)]) == (0, "major")
    minor = [Note(float(i), 1.0, 57 + step) for i, step in enumerate([0, 2, 3, 5, 7, 8, 11, 7, 3])]
    assert reading.estimate_key([*minor, Note(9.0, 2.0, 45)]) == (9, "minor")


def test_without_music21_the_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "music21", None)
    with pytest.raises(UserError, match="pip install music21"):
        reading.music21_package()


def test_a_score_is_itself_again_from_json():
    assert Score.from_json(chorale(1).to_json()) == chorale(1)


def test_a_tune_has_its_repeats_and_no_ornaments(tmp_path):
    pytest.importorskip("music21")
    (tmp_path / "NobodysJig.abc").write_text(TUNE)
    score = reading.read_score(tmp_path / "NobodysJig.abc", "ryansMammoth/NobodysJig.abc")
    assert (score.title, score.genre, score.metre) == ("Nobody's -- Jig", "jig", "6/8")
    assert (score.tonic, score.mode, score.bar, score.pickup) == (4, "dorian", 3.0, 0.5)
    assert score.length == 48.0  # sixteen bars of three quarters
    pitches = [note.pitch for note in score.notes]
    assert pitches[:8] == [71, 64, 66, 67, 69, 71, 73, 74]
    assert pitches[8] == 74  # the upper of two
    assert len(pitches) == 2 * 14 + 2 * 15
    tied = next(n for n in score.notes if n.duration == 3.0)
    assert tied.pitch == 69


@pytest.mark.parametrize(
    "change, reason",
    [
        (("K: Edor", "K: Ephr"), "no key"),
        (("R: jig", "R: galop"), "no kind"),
        (("\n|:B|", "\nM: 9/8\n|:B|"), "metre"),
        ((TUNE[TUNE.index("|EFG A3-") :], "|]\n"), "too short"),
    ],
)
def test_what_is_no_tune_is_refused(tmp_path, change, reason):
    pytest.importorskip("music21")
    path = tmp_path / "Nobodys.abc"
    path.write_text(TUNE.replace(*change))
    with pytest.raises(ValueError, match=reason):
        reading.read_score(path, "ryansMammoth/Nobodys.abc")


def test_a_chorale_has_four_voices_and_its_key():
    music21 = pytest.importorskip("music21")
    corpus = Path(music21.__file__).parent / "corpus"
    score = reading.read_score(corpus / "bach/bwv269.mxl", "bach/bwv269.mxl")
    assert (score.genre, score.tonic, score.mode) == ("chorale", 7, "major")
    assert score.title == "BWV 269"
    assert {note.voice for note in score.notes} == {0, 1, 2, 3}
    assert max(n.pitch for n in score.notes) == max(n.pitch for n in score.melody())
