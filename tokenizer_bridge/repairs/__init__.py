"""Gaps in audio: the repair that needs no model, and how far a repair is from what was there."""
