"""The report of judged tags: a table in Markdown, and a figure."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

_COLUMNS = 4
_COLOURS = {"constant": "#3366aa", "rising": "#cc6633", "falling": "#338855"}
_GREY = "#888888"


def as_markdown(report: Mapping[str, Any]) -> str:
    """A row a set of pieces, a column a category, with 95% intervals."""
    categories = report["categories"]
    header = ["pieces", *categories, "KAD"]
    real = ["real, held out: the ceiling"]
    real += [_share(facts["ceiling"]) for facts in categories.values()]
    real += [f"real, trained on: {_distance(report['kad_of_training_pieces'])}"]
    rows = [real]
    for one in report["sets"]:
        untold = one["guidance"] == 0
        shares = [
            _share(facts["floor"] if untold else one["right"][category])
            for category, facts in categories.items()
        ]
        rows.append([_setting(one), *shares, _distance(one["kad"])])
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    judges = "\n".join(
        f"- {category}: {len(facts['names'])} names ({', '.join(facts['names'])}), by "
        f"{facts['method']}"
        for category, facts in categories.items()
    )
    counts = ", ".join(f"{one['num_pieces']} ({_setting(one)})" for one in report["sets"])
    about = (
        f"Pieces of {report['seconds']:.3g} s. Share of pieces in which a judge hears what was "
        f"asked for, and KAD of musicnn's vectors to {report['num_held_out']} held-out pieces "
        f"that went through the codec; 95% intervals. Pieces: {counts}."
    )
    return f"# What tags are worth\n\n{about}\n\n{table}\n\n{judges}\n"


def figure(report: Mapping[str, Any]) -> Figure:
    """A panel a category: shares against guidance between ceiling and floor; KAD in the last."""
    panels = [*report["categories"], "KAD"]
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    made = Figure(figsize=(3.4 * columns, 2.7 * rows), layout="constrained")
    grid = made.subplots(rows, columns, squeeze=False).ravel()
    for axes, category in zip(grid, report["categories"], strict=False):
        facts = report["categories"][category]
        _band(axes, facts["ceiling"], "#338855", "real")
        if facts["floor"]:
            _band(axes, facts["floor"], _GREY, "told nothing")
        _lines(axes, report["sets"], lambda one, category=category: one["right"][category])
        axes.set(title=category, ylim=(0, 1.02))
    axes = grid[len(panels) - 1]
    if report["kad_of_training_pieces"]:
        _band(axes, report["kad_of_training_pieces"], "#338855", "real, trained on")
    _lines(axes, report["sets"], lambda one: one["kad"])
    axes.set(title="KAD to held-out music")
    for axes in grid[: len(panels)]:
        axes.set_xlabel("guidance")
        axes.set_xticks(sorted({one["guidance"] for one in report["sets"]}))
        axes.grid(alpha=0.3)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    grid[0].legend(frameon=False, fontsize="x-small")
    return made


def _lines(axes, sets: Sequence[Mapping[str, Any]], value_of) -> None:
    """A line a schedule; guidance 1 and 0, where nothing rises or falls, are of all of them."""
    for schedule in dict.fromkeys(one["schedule"] for one in sets):
        shared = [one for one in sets if one["schedule"] == schedule or one["guidance"] in (0, 1)]
        known = [one for one in shared if value_of(one) is not None]
        if not known:
            continue
        values = [value_of(one) for one in known]
        means = [value["value"] for value in values]
        bars = [
            [value["value"] - value["interval_95"][0] for value in values],
            [value["interval_95"][1] - value["value"] for value in values],
        ]
        axes.errorbar(
            [one["guidance"] for one in known],
            means,
            bars,
            marker="o",
            capsize=3,
            linewidth=1.2,
            color=_COLOURS.get(schedule),
            label=schedule,
        )


def _band(axes, value: Mapping[str, Any], colour: str, label: str) -> None:
    axes.axhline(value["value"], color=colour, linestyle=":", label=label)
    axes.axhspan(*value["interval_95"], color=colour, alpha=0.15, linewidth=0)


def _setting(one: Mapping[str, Any]) -> str:
    if one["guidance"] == 0:
        return "told nothing: the floor"
    words = "" if one["guidance"] == 1 else f", {one['schedule']}"
    return f"guidance {one['guidance']:g}{words}"


def _share(share: Mapping[str, Any] | None) -> str:
    if share is None:
        return "–"
    low, high = share["interval_95"]
    return f"{share['value']:.0%} ({100 * low:.0f} to {100 * high:.0f})"


def _distance(value: Mapping[str, Any] | None) -> str:
    if value is None:
        return "–"
    low, high = value["interval_95"]
    return f"{value['value']:.2f} ({low:.2f} to {high:.2f})"
