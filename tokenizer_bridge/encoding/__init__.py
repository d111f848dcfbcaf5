"""From tracks to a token dataset, by one worker or many, with progress that survives a stop."""
