"""A page to play with: a studio, which makes pieces, and the page in front of it."""
