"""Audio files and signals: reading, resampling, windows, writing."""
