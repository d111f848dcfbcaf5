"""The training curve of a run, and a choice of what to show."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from tokenizer_bridge.pages.pictures import COLOURS, INK, plot

T = TypeVar("T")

_CURVES = {  # label → metric, nats or bits in its unit
    "training": ("nats_per_token", np.log(2)),
    "validation": ("validation_bits_per_token", 1.0),
}


def pick(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items, evenly spread."""
    places = np.linspace(0, len(items) - 1, min(count, len(items)))
    return [items[i] for i in places.round().astype(int)]


def training_curve(rows: Sequence[Mapping[str, Any]], report: Mapping | None) -> Markup | None:
    """Bits per token over steps, the baselines of an evaluation as lines; None without a curve."""
    curves = {
        label: [(row["step"], row[key] / unit) for row in rows if row.get(key) is not None]
        for label, (key, unit) in _CURVES.items()
    }
    if not any(curves.values()):
        return None

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for colour, (label, points) in zip(COLOURS, curves.items(), strict=False):
            if points:
                marker = "o" if len(points) < 30 else None
                axes.plot(*zip(*points, strict=True), color=colour, label=label, linewidth=1.4,
                          marker=marker, markersize=3)  # fmt: skip
        if report:
            for key, style in (("unigram", "--"), ("bigram", ":")):
                value, label = report["bits_per_token"][key]["mean"], f"{key}, {report['split']}"
                axes.axhline(value, color=INK, linestyle=style, linewidth=1, label=label)
        axes.set(xlabel="step", ylabel="bits per token")
        figure.legend(loc="outside upper left", ncols=4)

    return plot(draw, 8, 3.2, "Training curve: bits per token over steps")
