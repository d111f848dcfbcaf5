"""Whether distances rise with damage."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

MEASURES = ("fad", "fad_infinity", "kad")


def orderings(
    compared: Mapping[str, Mapping], steps: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, str | None]]:
    """Row -> measure -> verdict, for rows of comparisons from little to much damage.

    compared: as `measure.compare_controls` returns it. The verdict is "apart" where values rise
    and no interval touches the next, "rising" where values rise, "not rising" where some value is
    not above the one before; None where a value is missing. FAD has no interval: it is never
    "apart".
    """
    return {
        row: {
            measure: _verdict([compared[name][measure] for name in names]) for measure in MEASURES
        }
        for row, names in steps.items()
    }


def _verdict(found: Sequence[Mapping | float | None]) -> str | None:
    if any(one is None for one in found):
        return None
    if not isinstance(found[0], Mapping):
        return "rising" if all(a < b for a, b in pairwise(found)) else "not rising"
    if all(a["high"] < b["low"] for a, b in pairwise(found)):
        return "apart"
    return "rising" if all(a["value"] < b["value"] for a, b in pairwise(found)) else "not rising"
