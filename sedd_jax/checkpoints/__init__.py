"""Checkpoints: Orbax saves and restores them; here is also what can go wrong with that."""

BEST = "best"  # instead of the number of a step: the checkpoint of lowest validation
