"""The values that reading and windows can be given, and their defaults: known without NumPy."""

CHANNELS = ("mean", "left", "right", "loudest")  # of a file, to be taken
LOW_CUT_HZ = 20.0

# (length, overlap) in seconds that the commands use unless told otherwise; `encode` and `decode`
# say how each was chosen.
ENCODING = (30.0, 4.0)
DECODING = (3.0, 0.5)

FORMATS = ("wav", "flac")  # of written files
