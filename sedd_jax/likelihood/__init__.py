"""Bits per token: the model's bound, and the baselines that it is compared with."""
