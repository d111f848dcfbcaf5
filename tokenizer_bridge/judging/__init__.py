"""Judges of tags: whether a piece is what it was asked to be, told by classifiers of its sound."""
