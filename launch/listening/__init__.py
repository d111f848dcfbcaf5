"""The contents of a run's page: its pieces, what was measured of it, and what that means."""
