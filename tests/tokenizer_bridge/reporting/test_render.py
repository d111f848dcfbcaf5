"""Tables, Markdown and page of a report made by hand."""

import re

import numpy as np
import pytest

from tests.tokenizer_bridge.reporting import example
from tokenizer_bridge.reporting.markdown import as_markdown
from tokenizer_bridge.reporting.page import as_page
from tokenizer_bridge.reporting.plots import best_median_worst
from tokenizer_bridge.reporting.projection import fit_projection
from tokenizer_bridge.reporting.table import interval, number, paper_table


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
    # Not measured here, but published.
    assert (ours["vggish, nlakh"], paper["vggish, nlakh"]) == ("–", "1.16 †")
    assert "not comparable" in table.notes[0]


def test_every_published_figure_is_shown_once_without_any_of_ours():
    table = paper_table(example.report(example.measurement("musicnn", "mine")))
    text = " ".join(cell for row in table.rows for cell in row)
    for figure in ("6.55 †", "3.13 †", "0.990 †", "1.16 †", "0.000101 †"):
        assert text.count(figure) == 1


@pytest.mark.parametrize(("value", "text"), [
    (0.0, "0.00"), (3.13159, "3.13"), (-0.0123, "-0.0123"), (1.01e-4, "0.000101"), (120.4, "120"),
    (20_412.7, "20,413"), (2e-7, "2e-07"),
])  # fmt: skip
def test_numbers(value, text):
    assert number(value) == text
    assert interval({"value": value, "low": 1, "high": 2}) == f"{text} (1.00 to 2.00)"


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
    assert html.count("<audio") == 6 and html.count("<svg") == 6
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", html)
    assert "<script" not in html and "@import" not in html
    assert "&lt;few&gt;" in html and "<few>" not in html and "b&lt;c&gt;.mp3" in html
    assert "prefers-color-scheme" in html or "color-scheme: light dark" in html


def test_the_same_report_gives_the_same_page():
    m = example.measurement("musicnn", "mine")
    pages = [as_page(example.report(m), [example.shown(m)]) for _ in range(2)]
    assert pages[0] == pages[1]


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
