"""A run's records of itself: metrics, goodput, profiles, hardware."""
