"""What goes on the page of a run: its pieces, what was measured of it, and what that means."""
