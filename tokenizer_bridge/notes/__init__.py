"""Notes of music: transcribed from audio, compared with a score, measured, drawn and looked up."""
