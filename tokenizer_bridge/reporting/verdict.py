"""The verdict of the controls on generated music, in words."""

from collections.abc import Mapping, Sequence

from tokenizer_bridge.reporting.table import CONTROL_NAMES, title

# What holds no music: a model that has learned some comes nearer than all of it.
_NO_MUSIC = ("shuffled_tokens", "white_noise", "silence")

_NO_CONTROLS = "no controls were measured, so that nothing says which distances are small."


def verdict(measurement: Mapping) -> str | None:
    """Generated music against each control, by whether their intervals meet; None without controls.

    By FAD∞ where all have one, else by KAD.
    """
    controls = measurement["controls"]
    if not controls:
        return None
    compared = [measurement, *controls.values()]
    extrapolated = all(figures["fad_infinity"] is not None for figures in compared)
    measure, name_of_it = ("fad_infinity", "FAD∞") if extrapolated else ("kad", "KAD")
    ours = measurement[measure]
    found: dict[str, list[str]] = {"farther than": [], "not told from": [], "nearer than": []}
    for name, figures in controls.items():
        if ours["low"] > figures[measure]["high"]:
            found["farther than"].append(name)
        elif ours["high"] < figures[measure]["low"]:
            found["nearer than"].append(name)
        else:
            found["not told from"].append(name)
    said = [f"{relation} {_listed(names)}" for relation, names in found.items() if names]
    line = f"By the intervals of {name_of_it}, generated is {', '.join(said)}."
    unbeaten = [name for name in _NO_MUSIC if name in controls and name not in found["nearer than"]]
    if unbeaten:
        farther = set(unbeaten) <= set(found["farther than"])
        line += f" Music should be nearer than {_listed(unbeaten)}: "
        line += "this is not." if farther else "this is not shown to be."
    return line


def headlines(report: Mapping) -> list[str]:
    """The verdicts of a report: a line for each of its measurements."""
    return [f"{title(m)}: {verdict(m) or _NO_CONTROLS}" for m in report["measurements"]]


def _listed(names: Sequence[str]) -> str:
    *first, last = (CONTROL_NAMES.get(name, name) for name in names)
    return f"{', '.join(first)} and {last}" if first else last
