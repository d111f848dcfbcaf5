"""Checkpoints: Orbax saves and restores them; here is also what can go wrong with that."""
