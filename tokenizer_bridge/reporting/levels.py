"""A report's lines on levels: silent clips, and clips too quiet for the loudness asked for."""

import math
from collections.abc import Sequence

from tokenizer_bridge.cleaning.loudness import Level
from tokenizer_bridge.fad.clips import Clip
from tokenizer_bridge.reporting.compare import Pairing, Side

_ROUNDING_LU = 0.01


class Levels:
    """Levels of clips, as they were met."""

    def __init__(self):
        self._levels: dict[Clip, Level] = {}

    def add(self, clip: Clip, level: Level) -> None:
        self._levels[clip] = level

    def warnings(self, pairings: Sequence[Pairing], target_lufs: float | None) -> list[str]:
        """A line on silent clips, and one a reference on those that stay below the target."""
        lines = [self._silent(pairing.generated) for pairing in pairings]
        if target_lufs is not None:
            lines += [self._below(pairing, target_lufs) for pairing in pairings]
        return [line for line in lines if line]

    def _silent(self, side: Side) -> str:
        count = sum(self._levels[clip].is_silent for clip in side.clips)
        if not count:
            return ""
        are = "is silent; it counts" if count == 1 else "are silent; they count"
        return f"{count} of {len(side.clips):,} {side.name} clips {are}"

    def _below(self, pairing: Pairing, target_lufs: float) -> str:
        counts, highest = [], []
        for side in pairing.sides:
            levels = [self._levels[clip] for clip in side.clips]
            reached = [level.highest_lufs() for level in levels if not level.is_silent]
            below = [lufs for lufs in reached if lufs < target_lufs - _ROUNDING_LU]
            counts.append(f"{len(below)} of {len(levels):,} clips of {side.name}")
            highest += below
        if not highest:
            return ""
        line = (
            f"loudness {target_lufs:g} LUFS: {' and '.join(counts)} stay below it, "
            "as their peaks leave no room"
        )
        if not math.isfinite(min(highest)):
            return line
        return f"{line}; {math.floor(min(highest))} LUFS would be reached by all"
