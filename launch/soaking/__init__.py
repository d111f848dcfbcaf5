"""Training runs that are killed again and again."""
