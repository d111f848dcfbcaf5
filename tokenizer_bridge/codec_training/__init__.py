"""Training of a codec, and the measures of its quality."""
