"""Gaps in music filled in: cases, repairs, and their distances to what was there."""
