"""Tracks made into a token dataset, by one worker or many; their progress survives a stop."""
