"""The error of a file that cannot be used."""


class AudioError(ValueError):
    """A file without usable audio; the text is the reason, without the file's name."""


class UnsuitedError(AudioError):
    """A file that libsndfile cannot be trusted with; another decoder may read it."""


class UnknownError(UnsuitedError):
    """A file that libsndfile does not read; the text is its own, or empty."""
