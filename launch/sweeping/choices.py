"""The values that a report of a sweep can be given: known without NumPy."""

PICKS = ("last", "min", "max")  # of a metric's history
