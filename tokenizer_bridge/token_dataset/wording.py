"""Amounts as people write them."""


def in_minutes_or_hours(*seconds: float) -> str:
    """The durations in one unit, that of the last: "1.3 of 72.0 min", "0.50 of 3.00 h"."""
    unit, size, digits = ("h", 3600, 2) if seconds[-1] >= 3600 else ("min", 60, 1)
    return " of ".join(f"{value / size:.{digits}f}" for value in seconds) + f" {unit}"


def counted(count: int, one: str, many: str) -> str:
    """A number with the words that agree with it: "1 track is", "1,200 tracks are"."""
    return f"{count:,} {one if count == 1 else many}"
