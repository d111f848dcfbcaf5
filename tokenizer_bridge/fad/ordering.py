"""The order of distances: do they rise with damage?"""

from collections.abc import Mapping, Sequence
from itertools import combinations, pairwise

from tokenizer_bridge.fad.extrapolation import Estimate
from tokenizer_bridge.fad.measure import Comparison

MEASURES = ("fad", "fad_infinity", "kad")


def orderings(
    compared: Mapping[str, Comparison], steps: Mapping[str, Sequence[str]]
) -> dict[str, dict[str, str | None]]:
    """Row -> measure -> verdict, for rows of comparisons from little to much damage.

    compared: as `measure.compare_controls` returns it. Of FAD∞ and KAD, which have intervals:

        apart            values rise, and no interval touches the next
        rising           values rise
        not told apart   some value is not above the one before, which the intervals leave open
        falling          some value is below an earlier one, and so is its whole interval

    Of FAD, which has none: rising, or not rising. None where a value is missing.
    """
    return {
        row: {
            measure: _verdict([getattr(compared[name], measure) for name in names])
            for measure in MEASURES
        }
        for row, names in steps.items()
    }


def _verdict(found: Sequence[Estimate | float | None]) -> str | None:
    if any(one is None for one in found):
        return None
    if not isinstance(found[0], Estimate):
        return "rising" if all(a < b for a, b in pairwise(found)) else "not rising"
    if any(a.low > b.high for a, b in combinations(found, 2)):
        return "falling"
    if not all(a.value < b.value for a, b in pairwise(found)):
        return "not told apart"
    return "apart" if all(a.high < b.low for a, b in pairwise(found)) else "rising"
