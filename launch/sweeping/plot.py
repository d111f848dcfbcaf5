"""A metric over what a sweep swept: lines, or a heat map over two keys of numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from launch.sweeping.report import REAL, Row
from tokenizer_bridge.token_dataset.files import atomic_file

SEED_KEYS = ("seed",)  # averaged over: no axis of interest
Axes = dict[str, list[Any]]  # key → its values, as they are drawn
Cells = dict[tuple[Any, ...], list[float]]  # one value for each of Axes → the metric, by seed
Intervals = dict[tuple[Any, ...], tuple[float, float]]  # likewise → the metric's 95% interval
MAX_TICKS = 10  # so many values are written below a logarithmic axis; more would run together
MIN_HEAT = 3  # values along each side; fewer are easier to read as lines


def write_plot(path: Path, rows: Sequence[Row], metric: str) -> bool:
    """Writes the figure as PNG; False where there is nothing to draw."""
    figure = make_figure(rows, metric)
    if figure is None:
        return False
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)
    return True


def make_figure(rows: Sequence[Row], metric: str) -> Figure | None:
    """The metric of the rows that have a finite value of it; None if there is none.

    Seeds are averaged over, a bar from their least to their greatest; where there is one seed, the
    bar is the metric's 95% interval, if rows have METRIC_low and METRIC_high. Two keys of three
    numbers or more make a heat map if every cell is known; else the key with most numbers is the
    horizontal axis and every combination of the others is a line.
    """
    points = [row for row in rows if np.isfinite(row.metrics.get(metric, np.nan))]
    if not points:
        return None
    axes = {
        key: _ordered([row.keys[key] for row in points])
        for key in rows[0].keys
        if key not in SEED_KEYS or len(rows[0].keys) == 1
    }
    cells: Cells = {}
    intervals: Intervals = {}
    for row in points:
        cell = tuple(row.keys[key] for key in axes)
        cells.setdefault(cell, []).append(row.metrics[metric])
        if {f"{metric}_low", f"{metric}_high"} <= row.metrics.keys():
            intervals[cell] = (row.metrics[f"{metric}_low"], row.metrics[f"{metric}_high"])

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    ax = figure.subplots()
    if _is_heat_map(axes, cells):
        _heat_map(figure, ax, axes, cells, metric)
    else:
        _lines(ax, axes, cells, intervals, metric)
        known = [row.reference[metric] for row in rows if metric in row.reference]
        if known:
            ax.axhline(np.mean(known), color="grey", linestyle=":", label=REAL)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(frameon=False, fontsize="small")
    return figure


def _is_number(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _ordered(values: Sequence[Any]) -> list[Any]:
    """Distinct values: numbers ascending, others as they first come."""
    distinct = list(dict.fromkeys(values))
    return sorted(distinct) if _is_number(distinct) else distinct


def is_log_spaced(values: Sequence[float]) -> bool:
    """True when ratios of neighbours are more alike than differences. values: ascending."""
    if len(values) < 2 or values[0] <= 0:
        return False
    if len(values) == 2:
        return values[1] >= 10 * values[0]
    steps = np.diff(values)
    ratios = np.diff(np.log(values))
    return bool(ratios.std() / ratios.mean() < steps.std() / steps.mean())


def _is_heat_map(axes: Axes, cells: Cells) -> bool:
    sides = list(axes.values())
    return (
        len(sides) == 2
        and all(_is_number(side) and len(side) >= MIN_HEAT for side in sides)
        and len(cells) == len(sides[0]) * len(sides[1])
    )


def _heat_map(
    figure, ax, axes: dict[str, list], cells: dict[tuple, list[float]], metric: str
) -> None:
    (x_key, x_values), (y_key, y_values) = axes.items()
    grid_YxX = np.array([[np.mean(cells[x, y]) for x in x_values] for y in y_values])
    image = ax.imshow(grid_YxX, origin="lower", aspect="auto", cmap="viridis")
    middle = (grid_YxX.min() + grid_YxX.max()) / 2
    for (row, column), value in np.ndenumerate(grid_YxX):
        colour = "white" if value < middle else "black"
        ax.text(column, row, f"{value:.5g}", ha="center", va="center", color=colour)
    ax.set_xticks(range(len(x_values)), [f"{value:g}" for value in x_values])
    ax.set_yticks(range(len(y_values)), [f"{value:g}" for value in y_values])
    ax.set(xlabel=x_key, ylabel=y_key)
    figure.colorbar(image, label=metric)


def _lines(ax, axes: Axes, cells: Cells, intervals: Intervals, metric: str) -> None:
    keys = list(axes)
    # Numbers before words, then the most values, then the sweep's order.
    x_key = max(keys, key=lambda key: (_is_number(axes[key]), len(axes[key])))
    x_at, x_values = keys.index(x_key), axes[x_key]
    series: dict[str, dict[Any, tuple[float, float, float]]] = {}  # mean, and the ends of its bar
    for cell, values in cells.items():
        others = [f"{k}={v}" for k, v in zip(keys, cell, strict=True) if k != x_key]
        ends = (min(values), max(values))
        if len(values) == 1:
            ends = intervals.get(cell, ends)
        series.setdefault(", ".join(others), {})[cell[x_at]] = (float(np.mean(values)), *ends)
    numeric = _is_number(x_values)
    for label, by_x in series.items():
        found = [x for x in x_values if x in by_x]
        places = found if numeric else [x_values.index(x) for x in found]
        mean, low, high = np.array([by_x[x] for x in found]).T
        bars = [mean - low, high - mean] if (low < high).any() else None
        ax.errorbar(places, mean, bars, label=label or None, marker="o", capsize=3, linewidth=1.2)
    if not numeric:
        ax.set_xticks(range(len(x_values)), [str(value) for value in x_values])
    elif is_log_spaced(x_values):
        ax.set_xscale("log")
        if len(x_values) <= MAX_TICKS:
            ax.set_xticks(x_values, [f"{value:g}" for value in x_values])
            ax.minorticks_off()
    ax.set(xlabel=x_key, ylabel=metric)
    ax.grid(alpha=0.3)
