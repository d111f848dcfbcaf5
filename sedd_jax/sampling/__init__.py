"""From keys to stored tokens."""
