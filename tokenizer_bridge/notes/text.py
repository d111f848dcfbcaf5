"""A comparison of notes as text for a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

TITLES = {
    "real": "real",
    "codec": "through the codec",
    "generated": "generated",
    "shuffled": "shuffled codes",
    "training": "training pieces",
}
_COPIES = {
    "tokens": "tokens",
    "changes": "changes of code",
    "notes": "notes, up to transposition",
}


def as_text(report: Mapping[str, Any]) -> str:
    return "\n".join(_lines(report))


def _lines(report: Mapping[str, Any]) -> Iterator[str]:
    sets = report["sets"]
    counts = ", ".join(f"{of_set['pieces']} {TITLES[name]}" for name, of_set in sets.items())
    yield f"pieces: {counts}; up to {report['clip_s']:g} s of each"
    yield "median, and pieces within the range that holds the middle 80% of the real ones"
    yield f"{'':15}{'range':>15}" + "".join(f"{TITLES[name]:>20}" for name in sets)
    for measure, (low, high) in report["ranges"].items():
        cells = (
            _cell(of_set["medians"][measure], of_set["within"][measure]) for of_set in sets.values()
        )
        yield f"{measure:15}{_figure(low) + ' – ' + _figure(high):>15}" + "".join(cells)
    alls = "".join(f"{of_set['within']['all']:20.0%}" for of_set in sets.values())
    yield f"{'all of them':15}{'':15}{alls}"
    if report["agreement"]:
        yield ""
        yield f"{'notes against the score':30}{'F1':>8}{'precision':>11}{'recall':>8}{'pieces':>8}"
        for name, a in report["agreement"].items():
            yield (
                f"{TITLES[name]:30}{a['f1']:8.3f}{a['precision']:11.3f}{a['recall']:8.3f}"
                f"{a['pieces']:8}"
            )
    if report["copies"]:
        yield ""
        yield (
            f"{'longest stretch shared with the training split':48}{'median':>8}{'90%':>8}"
            f"{'longest':>9}"
        )
    for kind, of_kind in report["copies"].items():
        for name, figures in of_kind.items():
            yield (
                f"{_COPIES[kind] + ', ' + TITLES[name]:48}{figures['median']:8g}"
                f"{figures['percentile_90']:8g}{figures['longest']:9}"
            )


def _cell(median: float | None, share: float) -> str:
    return f"{'–' if median is None else _figure(median):>13}{share:7.0%}"


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.2f}"
