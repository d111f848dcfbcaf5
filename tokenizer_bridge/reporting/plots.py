"""The plots of a report, as inline SVG."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup

from tokenizer_bridge.pages.pictures import COLOURS, INK, plot
from tokenizer_bridge.reporting.names import GENERATED, REFERENCE
from tokenizer_bridge.reporting.projection import fit_projection
from tokenizer_bridge.reporting.table import CONTROL_NAMES, number, title

_COLOUR_OF = {
    GENERATED: COLOURS[5],
    "real_vs_real": COLOURS[2],
    "codec_floor": COLOURS[0],
    "shuffled_tokens": COLOURS[3],
    "white_noise": COLOURS[1],
    "silence": COLOURS[4],
}
_GREY = "#888888"  # seen on light and dark
_SIZES = {GENERATED: 12, "silence": 40}  # of dots; all silent clips are one
_MAX_POINTS = 1000  # of each set: more hide each other
_MAX_BINS = 40


def distances(measurement: Mapping) -> Markup:
    """FAD∞ and KAD of the generated music and the controls, with their intervals.

    Where there is no FAD∞ the plain FAD stands in its place, hollow.
    """
    bars = {GENERATED: measurement, **measurement["controls"]}

    def draw(figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        for y, (name, figures) in enumerate(bars.items()):
            colour = _COLOUR_OF.get(name, INK)
            if figures["fad_infinity"] is None:
                left.barh(y, figures["fad"], fill=False, edgecolor=colour, height=0.6)
                _say(left, y, figures["fad"], figures["fad"])
            else:
                _bar(left, y, figures["fad_infinity"], colour)
            _bar(right, y, figures["kad"], colour)
        names = [CONTROL_NAMES.get(name, name) for name in bars]
        left.set_yticks(range(len(bars)), names)
        left.invert_yaxis()
        hollow = any(figures["fad_infinity"] is None for figures in bars.values())
        left.set_xlabel("FAD∞; hollow: FAD" if hollow else "FAD∞")
        right.set_xlabel("KAD")
        for axes in (left, right):
            axes.axvline(0, color=INK, linewidth=0.8)
            low, high = axes.dataLim.intervalx
            # Room for words on the right; below 0 only what an interval needs.
            axes.set_xlim(
                min(0.0, low - 0.01 * (high - low) * (low < 0)), high + 0.2 * (high - low)
            )

    return plot(draw, 9, 0.8 + 0.32 * len(bars), f"Distances, {title(measurement)}")


def per_file(measurement: Mapping, marked: Mapping[str, float]) -> Markup:
    """A plot of how distances of single files are spread. marked: name -> FAD of a file shown."""
    values = [entry["fad"] for entry in measurement["per_file"]]

    def draw(figure) -> None:
        axes = figure.subplots()
        bins = min(_MAX_BINS, max(5, len(values) // 5))
        axes.hist(values, bins, color=COLOURS[5], alpha=0.7)
        top = axes.get_ylim()[1]
        for name, value in marked.items():
            axes.axvline(value, color=INK, linewidth=1, linestyle=":")
            axes.text(value, top, name, ha="center", va="bottom", fontsize=8)
        axes.set(xlabel="FAD of a file's vectors against the reference", ylabel="files")

    return plot(draw, 5.5, 2.6, f"Distances of single files, {title(measurement)}")


def projection(measurement: Mapping, vectors: Mapping[str, np.ndarray]) -> Markup:
    """Clips in the plane of the reference's two principal axes.

    vectors: (N, D), one vector a clip, by set: "reference", "generated", and controls.
    """
    axes_of = fit_projection(vectors[REFERENCE])
    order = [REFERENCE, *(name for name in vectors if name not in (REFERENCE, GENERATED))]
    order += [GENERATED] * (GENERATED in vectors)

    points = {name: axes_of(_spread(vectors[name])) for name in order}
    music = np.concatenate([points[name] for name in (REFERENCE, GENERATED) if name in points])
    low_2, high_2 = np.percentile(music, [1, 99], axis=0)
    margin_2 = 0.25 * (high_2 - low_2)

    def draw(figure) -> None:
        near, far = figure.subplots(1, 2)
        for axes in (near, far):
            for name, points_Nx2 in points.items():
                axes.scatter(
                    *points_Nx2.T,
                    s=_SIZES.get(name, 6),
                    color=_GREY if name == REFERENCE else _COLOUR_OF.get(name, INK),
                    alpha=0.8,
                    linewidths=0,
                    label=CONTROL_NAMES.get(name, name),
                    rasterized=True,  # thousands of dots as a picture, words and axes as lines
                )
        near.set_xlim(low_2[0] - margin_2[0], high_2[0] + margin_2[0])
        near.set_ylim(low_2[1] - margin_2[1], high_2[1] + margin_2[1])
        near.set_title("near the music", fontsize=9)
        far.set_title("everything", fontsize=9)
        shares = [f"{share:.0%}" for share in axes_of.shares_2]
        figure.supxlabel(f"first axis of the reference, {shares[0]} of its variance", fontsize=9)
        figure.supylabel(f"second axis, {shares[1]} of its variance", fontsize=9)
        handles, labels = far.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", markerscale=1.8, ncols=4)

    return plot(draw, 9, 3.9, f"Embeddings, {title(measurement)}")


def _bar(axes, y: int, estimate: Mapping, colour: str) -> None:
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    axes.barh(y, value, color=colour, height=0.6, alpha=0.8)
    axes.plot([low, high], [y, y], color=INK, linewidth=1.4)
    axes.plot([low, high], [y, y], "|", color=INK, markersize=7)
    _say(axes, y, value, high)


def _say(axes, y: int, value: float, right_of: float) -> None:
    axes.annotate(
        number(value), (max(right_of, 0), y), (4, 0), textcoords="offset points", va="center",
        fontsize=8,
    )  # fmt: skip


def _spread(vectors_NxD: np.ndarray) -> np.ndarray:
    places = np.linspace(0, len(vectors_NxD) - 1, min(_MAX_POINTS, len(vectors_NxD)))
    return vectors_NxD[places.round().astype(int)]


def best_median_worst(entries: Sequence[Mapping]) -> dict[str, Mapping]:
    """The entries of `per_file` with the least, the middle and the greatest distance."""
    ranked = sorted(entries, key=lambda entry: (entry["fad"], entry["id"]))
    picks = {"best": ranked[0], "median": ranked[(len(ranked) - 1) // 2], "worst": ranked[-1]}
    return picks if len(ranked) > 2 else {"best": ranked[0], "worst": ranked[-1]}
