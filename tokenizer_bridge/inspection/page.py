"""The summary of a token dataset as one HTML page."""

import json
from collections.abc import Mapping
from pathlib import Path

from markupsafe import Markup

from tokenizer_bridge.inspection.text import interval_of, with_interval
from tokenizer_bridge.pages.pictures import COLOURS, INK, plot
from tokenizer_bridge.pages.template import render

_MAX_TAGS = 40  # of a category; the JSON has them all


def as_page(summary: Mapping) -> str:
    """summary: of summary.py."""
    splits = summary["splits"]
    return render(
        Path(__file__).parent / "page.html.j2",
        summary=summary,
        max_tags=_MAX_TAGS,
        lengths={name: _lengths(name, split["lengths_s"]) for name, split in splits.items()},
        bits=_bits(splits),
        with_interval=with_interval,
        interval_of=interval_of,
        raw=json.dumps({key: summary[key] for key in ("codec", "origin")}, indent=1),
    )


def _lengths(name: str, lengths: Mapping) -> Markup:
    edges, tracks = lengths["histogram"]["edges_s"], lengths["histogram"]["tracks"]

    def draw(figure) -> None:
        axes = figure.subplots()
        axes.stairs(tracks, edges, fill=True, color=COLOURS[0])
        axes.set(xlabel="seconds", ylabel="tracks")

    return plot(draw, 5.5, 2.2, f"Lengths of the tracks of {name}")


def _bits(splits: Mapping) -> Markup:
    """A plot of each entropy between the plug-in, too low, and the held-out cost, too high."""

    def draw(figure) -> None:
        axes = figure.subplots()
        labels = []
        for name, split in splits.items():
            bits = split["bits"]
            for kind in ("unigram", "bigram"):
                if not bits[kind]:
                    continue
                y = len(labels)
                held = bits["held_out"][kind] if bits["held_out"] else None
                low = bits[kind]["plug_in"]
                if held is not None:
                    axes.plot([low, held["mean"]], [y, y], color=INK, linewidth=0.8)
                    axes.plot(held["mean"], y, "<", color=COLOURS[5], label="held out (too high)")
                axes.plot(low, y, ">", color=COLOURS[0], label="plug-in (too low)")
                axes.plot(bits[kind]["miller_madow"], y, "o", color=COLOURS[2], markersize=4,
                          label="Miller–Madow")  # fmt: skip
                labels.append(f"{name}, {kind}")
        axes.axvline(bits["uniform"], color=INK, linestyle=":", linewidth=1)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_xlim(0, bits["uniform"] * 1.03)
        axes.set_xlabel("bits per token; dotted: all codes equally likely")
        by_name = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
        figure.legend(by_name.values(), by_name.keys(), loc="outside upper left", ncols=3)

    rows = sum(
        bool(split["bits"][kind]) for split in splits.values() for kind in ("unigram", "bigram")
    )
    return plot(draw, 7.5, 0.9 + 0.28 * rows, "Entropies in bits per token")
