"""Sampling: from keys to stored tokens."""
