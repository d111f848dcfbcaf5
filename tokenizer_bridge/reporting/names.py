"""The names of the two sets that a measurement compares."""

GENERATED, REFERENCE = "generated", "reference"
