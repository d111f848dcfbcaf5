"""Training: one step, what a run needs before the first one, and validation on the way."""
