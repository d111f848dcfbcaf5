"""The page on which a run's samples are heard and seen."""
