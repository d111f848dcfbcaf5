"""An audio file opened by whichever decoder reads it whole: libsndfile, or ffmpeg where it is."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tokenizer_bridge.audio.errors import AudioError, UnknownError, UnsuitedError
from tokenizer_bridge.audio.ffmpeg import FfmpegFile, find_ffmpeg
from tokenizer_bridge.audio.kinds import FOR_FFMPEG, kind_of
from tokenizer_bridge.audio.sound_file import AudioFile, open_sound_file

GET_FFMPEG = "install ffmpeg (apt install ffmpeg, brew install ffmpeg), or convert to FLAC"


@contextmanager
def open_audio(path: Path) -> Iterator[AudioFile]:
    """A file that promises to be whole, as libsndfile reads it, and ffmpeg where that cannot.

    Raises AudioError, whose text says what the file is and, where there is one, the cure.
    """
    require_file(path)
    if path.stat().st_size == 0:
        raise AudioError("empty: 0 bytes")
    try:
        file = open_sound_file(path)
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror}") from error
    except UnsuitedError as error:
        file = _open_elsewhere(path, error)
    try:
        yield file
    finally:
        file.close()


def require_file(path: Path) -> None:
    """Raise AudioError unless a file is there."""
    if not path.exists():
        raise AudioError("missing, or a link that leads nowhere")
    if not path.is_file():
        raise AudioError("not a regular file")


def lacking_ffmpeg(paths: Iterable[Path]) -> list[Path]:
    """The files of which it is plain, by their names, that they would need an ffmpeg.

    None of them where there is one.
    """
    if find_ffmpeg() is not None:
        return []
    return [path for path in paths if path.suffix[1:].lower() in FOR_FFMPEG]


def _open_elsewhere(path: Path, unsuited: UnsuitedError) -> AudioFile:
    """A file with which libsndfile cannot be trusted, by ffmpeg."""
    kind, is_audio = kind_of(path) or (None, True)
    if not is_audio:
        raise AudioError(f"not audio but {kind}") from unsuited
    if find_ffmpeg() is not None:
        try:
            return FfmpegFile(path)
        except AudioError as error:
            what = f"{kind} that cannot be decoded" if kind else "not audio that can be read"
            raise AudioError(f"{what}, or damaged ({error})") from error
    if not isinstance(unsuited, UnknownError):
        raise AudioError(f"{kind or 'audio'}: {unsuited}: {GET_FFMPEG}") from unsuited
    if kind:
        raise AudioError(f"{kind}, of a kind that needs ffmpeg: {GET_FFMPEG}") from unsuited
    raise AudioError("not audio that libsndfile can read, or damaged") from unsuited
