"""How well gaps in music are filled in: cases, repairs, and their distances to what was there."""
