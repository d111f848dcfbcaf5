"""Audio files written, with a comment in their header that can be read again."""

import io
from pathlib import Path

import numpy as np
import soundfile

from tokenizer_bridge.token_dataset.files import atomic_file


def write_audio(path: Path, audio_T: np.ndarray, sample_rate: int, comment: str = "") -> None:
    """Write (T,) audio as 16-bit PCM, WAV or FLAC by the suffix; values beyond ±1 are clipped.

    comment: kept in the file's header. The file is whole or absent. Raises OSError, when the disk
    is full among other things.
    """
    buffer = io.BytesIO()  # soundfile hides the reason when it cannot write to a file
    clipped_T = np.clip(audio_T, -1.0, 1.0)
    kind = {"format": path.suffix[1:].upper(), "subtype": "PCM_16"}
    with soundfile.SoundFile(buffer, "w", sample_rate, channels=1, **kind) as file:
        if comment:
            file.comment = comment
        file.write(clipped_T)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_comment(path: Path) -> str:
    """The comment in a file's header; "" where there is none, or no audio file."""
    try:
        with soundfile.SoundFile(path) as file:
            return file.comment
    except (soundfile.SoundFileError, OSError):
        return ""
