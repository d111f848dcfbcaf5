"""Tables, Markdown and page of a report made by hand."""

import re

import numpy as np
import pytest

from tests.tokenizer_bridge.reporting import example
from tokenizer_bridge.reporting import plots
from tokenizer_bridge.reporting.markdown import as_markdown
from tokenizer_bridge.reporting.page import as_page
from tokenizer_bridge.reporting.plots import best_median_worst
from tokenizer_bridge.reporting.projection import fit_projection
from tokenizer_bridge.reporting.table import (
    interval,
    markdown,
    measurement_table,
    number,
    paper_table,
    published_table,
    settings_table,
    text,
    windows,
)
from tokenizer_bridge.reporting.verdict import verdict


def cells(table, row: str) -> dict[str, str]:
    return next(dict(zip(table.head[1:], r[1:], strict=True)) for r in table.rows if r[0] == row)


def test_published_figures_stand_in_the_columns_they_belong_to():
    table = paper_table(
        example.report(
            example.measurement("vggish", "mine", "mtg_jamendo"),
            example.measurement("vggish-pca", "jamendo"),
            example.measurement("cnn14-16k", "Nlakh", value=40),
        )
    )
    ours, paper, msdm = (cells(table, row) for row in ("this run, FAD", "SEDD-music †", "MSDM †"))
    assert (ours["vggish, mine"], paper["vggish, mine"], msdm["vggish, mine"]) == (
        "3.50", "3.13 †", "6.55 †",
    )  # fmt: skip
    # PCA makes another embedding; nothing was published for it.
    assert (ours["vggish-pca, jamendo"], paper["vggish-pca, jamendo"]) == ("3.50", "–")
    # The scalar of PANNs never stands beside a Fréchet distance.
    assert paper["cnn14-16k, Nlakh"] == "–"
    assert paper["cnn14-16k, Nlakh, flattened"] == "0.000101 †"
    assert ours["cnn14-16k, Nlakh, flattened"] == "0.0002"
    assert "not comparable" in table.notes[0]


def test_what_was_not_measured_has_no_column():
    report = example.report(example.measurement("vggish", "mine", "mtg_jamendo"))
    table = paper_table(report)
    assert table.head == ("model", "vggish, mine")
    assert [row[0] for row in table.rows[2:]] == ["MSDM †", "SEDD-music †"]  # none without figures
    assert not any("–" in row for row in table.rows)
    assert ("SEDD-music, vggish, nlakh", "1.16") in published_table(report).rows
    assert published_table(report | {"published": []}) is None


def test_every_published_figure_is_shown_once_without_any_of_ours():
    report = example.report(example.measurement("musicnn", "mine"))
    assert len(paper_table(report).rows) == 2
    figures = [figure for _, figure in published_table(report).rows]
    assert figures == ["6.55", "3.13", "0.990", "1.16", "0.000101"]


@pytest.mark.parametrize(("value", "shown"), [
    (0.0, "0.00"), (3.13159, "3.13"), (-0.0123, "-0.0123"), (1.01e-4, "0.000101"), (120.4, "120"),
    (999.4, "999"), (999.6, "1,000"), (20_412.7, "20,413"), (2e-7, "2e-07"),
])  # fmt: skip
def test_numbers(value, shown):
    assert number(value) == shown
    assert interval({"value": value, "low": 1, "high": 2}) == f"{shown} (1.00 to 2.00)"


def test_markdown_has_everything_and_no_broken_rows():
    measurement = example.measurement("vggish", "jamendo", "mtg_jamendo")
    measurement["fad_infinity"] = None  # too few clips
    text = as_markdown(example.report(measurement))
    assert "jamendo: 300 <few> clips" in text and "a|b<c>.mp3" in text and "silent" in text
    assert "ab" * 32 in text and "cd" * 32 in text
    for row in ("real against real", "real through the codec", "white noise"):
        assert f"| {row} |" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.M):
        assert len({line.count("|") for line in block.splitlines()}) == 1


def test_the_page_is_whole_in_itself():
    measurements = [
        example.measurement("vggish", "jamendo", "mtg_jamendo"),
        example.measurement("musicnn", "mine"),
    ]
    measurements[1] |= {"fad_infinity": None, "controls": {}}
    html = as_page(example.report(*measurements), [example.shown(m) for m in measurements])
    assert html.count("<audio") == 6 and html.count("<svg") == 12
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", html)
    assert not re.findall(r"<script [^>]|@import", html)  # a script of the page's own alone
    assert "&lt;few&gt;" in html and "<few>" not in html and "b&lt;c&gt;.mp3" in html
    assert html.count("prefers-color-scheme: dark") >= 1


def test_what_is_hollow_is_explained_where_something_is():
    m = example.measurement("musicnn", "mine")
    assert "FAD∞" in plots.distances(m) and "hollow" not in plots.distances(m)
    assert "hollow: FAD" in plots.distances(m | {"fad_infinity": None})


def test_axes_of_distances_begin_at_0_unless_an_interval_is_below():
    m = example.measurement("musicnn", "mine", value=2350)
    assert "−" not in re.sub("aria-label=.*", "", plots.distances(m))  # matplotlib's minus


def test_the_same_report_gives_the_same_page():
    m = example.measurement("musicnn", "mine")
    pages = [as_page(example.report(m), [example.shown(m)]) for _ in range(2)]
    assert pages[0] == pages[1]


def verdict_of(value: float, **changes) -> str:
    measurement = example.measurement("musicnn", "mine", value=value)
    return verdict(measurement | changes)


def test_what_the_controls_say_of_generated_music():
    """Controls: 0 to 0.2, 1.25 to 1.75, 17.9 to 22.1, 62.9 to 77.1 and 71.9 to 88.1."""
    assert verdict_of(5) == (
        "By the intervals of FAD∞, generated is farther than real against real and real through "
        "the codec, nearer than shuffled tokens, white noise and silence."
    )
    assert verdict_of(74) == (
        "By the intervals of FAD∞, generated is farther than real against real, real through the "
        "codec and shuffled tokens, not told from white noise and silence. Music should be nearer "
        "than shuffled tokens, white noise and silence: this is not shown to be."
    )
    assert "not told from real against real, nearer than real through" in verdict_of(0.15)
    worse = verdict_of(200, fad_infinity=None, kad={"value": 20, "low": 19, "high": 21})
    assert worse.startswith("By the intervals of KAD") and "white noise and silence. Mu" in worse
    assert worse.endswith("shuffled tokens, white noise and silence: this is not.")
    assert verdict(example.measurement("musicnn", "mine") | {"controls": {}}) is None


def test_markdown_and_page_say_the_verdict_and_how_to_read_the_figures():
    m = example.measurement("musicnn", "mine")
    report = example.report(m)
    for written in (as_markdown(report), as_page(report, [example.shown(m)])):
        assert verdict(m) in written
        warning = written.index("few&gt; clips" if "<html" in written else "few> clips")
        assert written.index(verdict(m)) < min(warning, written.index("this run, FAD"))
        assert "FAD grows as files get fewer" in written and "100 × MMD²" in written


def test_the_note_of_the_halves_is_what_was_measured():
    m = example.measurement("musicnn", "mine")
    assert "halves of the reference that share no artist" in measurement_table(m).notes[0]
    notes = measurement_table(m | {"halves": "known artists"}).notes
    assert "share no artist that is known: as near" in notes[0]
    notes = measurement_table(m | {"halves": "files"}).notes
    assert "may share artists" in notes[0] and not any("no artist" in note for note in notes)


def test_a_terminal_shows_notes_below_a_table():
    m = example.measurement("musicnn", "mine")
    table = published_table(example.report(m))
    lines = text(table).splitlines()
    assert lines[1 + len(table.rows)].startswith("Published, not comparable")


def test_settings_say_what_files_are_worth_where_artists_are_known():
    m = example.measurement("musicnn", "mine")
    m["reference"] |= {"n_artists": 1200, "n_effective": 2100, "drawn": "artists"}
    m["generated"] |= {"n_artists": 0, "n_effective": 300, "drawn": "files"}
    table = settings_table(example.report(m), m)
    assert cells(table, "reference")["value"] == (
        "mine (folder): 3,600 files, 3,600 clips, 14,400 vectors; 1,200 known artists, 2,100 "
        "independent files' worth; artists are drawn"
    )
    assert cells(table, "generated")["value"] == "300 files, 300 clips, 1,200 vectors"


def test_settings_are_words():
    m = example.measurement("musicnn", "mine")
    table = settings_table(example.report(m), m)
    assert cells(table, "windows a clip")["value"] == "4: 10 s heard of 10 s"
    assert "---:" not in markdown(table) and "---:" in markdown(measurement_table(m))
    m["embedding"] |= {"window_s": 2.992, "hop_s": 2.992}
    m |= {"clip_s": 5.0, "generated": example.side("generated", 300) | {"n_vectors": 300}}
    assert windows(m) == (1, 2.992)


def test_axes_of_a_known_cloud():
    rng = np.random.default_rng(0)
    reference = rng.normal(size=(4_000, 3)) * [1, 5, 2] + [7, 0, 0]
    projection = fit_projection(reference)
    np.testing.assert_allclose(np.abs(projection.axes_2xD), [[0, 1, 0], [0, 0, 1]], atol=0.03)
    assert projection.axes_2xD[0, 1] > 0 and projection.axes_2xD[1, 2] > 0  # not by chance
    np.testing.assert_allclose(projection.shares_2, [25 / 30, 4 / 30], atol=0.01)
    np.testing.assert_allclose(projection(np.array([[7.0, 5.0, 2.0]])), [[5, 2]], atol=0.4)
    flipped = fit_projection(reference[::-1].copy())
    np.testing.assert_allclose(flipped.axes_2xD, projection.axes_2xD, atol=1e-9)
    with pytest.raises(ValueError, match="three vectors"):
        fit_projection(reference[:2])


def test_best_median_worst():
    entries = [{"id": name, "fad": fad} for name, fad in zip("abcde", [3, 9, 1, 4, 7], strict=True)]
    picks = {rank: entry["id"] for rank, entry in best_median_worst(entries).items()}
    assert picks == {"best": "c", "median": "d", "worst": "b"}
    assert list(best_median_worst(entries[:2])) == ["best", "worst"]
