"""What a report says of levels: silent clips, and clips that --loudness does not reach."""

import math
from collections.abc import Sequence

from tokenizer_bridge.cleaning.loudness import Level
from tokenizer_bridge.fad.clips import Clip
from tokenizer_bridge.reporting.compare import Comparison, Side

_ROUNDING_LU = 0.01


class Levels:
    """Levels of clips, as they were met."""

    def __init__(self):
        self._levels: dict[Clip, Level] = {}

    def add(self, clip: Clip, level: Level) -> None:
        self._levels[clip] = level

    def warnings(self, comparisons: Sequence[Comparison], target_lufs: float | None) -> list[str]:
        """A line on silent clips, and one a reference on those that stay below the target."""
        lines = [self._silent(c.generated) for c in comparisons]
        if target_lufs is not None:
            lines += [self._below(c, target_lufs) for c in comparisons]
        return [line for line in lines if line]

    def _silent(self, side: Side) -> str:
        count = sum(self._levels[clip].is_silent for clip in side.clips)
        if not count:
            return ""
        are = "is silent; it counts" if count == 1 else "are silent; they count"
        return f"{count} of {len(side.clips):,} {side.name} clips {are}"

    def _below(self, comparison: Comparison, target_lufs: float) -> str:
        counts, highest = [], []
        for side in comparison.sides:
            levels = [self._levels[clip] for clip in side.clips]
            reached = [level.highest_lufs() for level in levels if not level.is_silent]
            below = [lufs for lufs in reached if lufs < target_lufs - _ROUNDING_LU]
            counts.append(f"{len(below)} of {len(levels):,} clips of {side.name}")
            highest += below
        if not highest:
            return ""
        line = (
            f"--loudness={target_lufs:g}: {' and '.join(counts)} stay below it, "
            "as their peaks leave no room"
        )
        if not math.isfinite(min(highest)):
            return line
        return f"{line}; --loudness={math.floor(min(highest))} would be reached by all"
