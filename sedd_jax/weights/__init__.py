"""Weights read from files of other programs, and written for them."""
