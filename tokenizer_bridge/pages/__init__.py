"""Pages that are whole in themselves: pictures and sounds inside, readable in light and dark."""
