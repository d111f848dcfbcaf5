"""The error of a file that cannot be used."""


class AudioError(ValueError):
    """A file without usable audio; the text is the reason, without the file's name."""


class UnsuitedError(AudioError):
    """A file that libsndfile cannot be trusted with; another decoder may read it."""


class UnknownError(UnsuitedError):
    """A file that libsndfile does not read; the text is its own, or empty."""


class ChannelsCancelError(AudioError):
    """A file of which the mean of the channels is next to nothing; loudest: of them, from 0."""

    def __init__(self, loudest: int):
        super().__init__("its channels cancel each other when they are mixed")
        self.loudest = loudest
