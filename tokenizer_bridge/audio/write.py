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


def write_recording(
    path: Path, audio_CxT: np.ndarray, sample_rate: int, subtype: str, comment: str = ""
) -> None:
    """Write (C, T) audio as WAV: what was read of a file of this kind, `subtype_for`, to the bit.

    PCM is clipped at ±1. The file is whole or absent. Raises OSError.
    """
    if subtype == "FLOAT":
        samples = audio_CxT
    else:
        bits = int(subtype.removeprefix("PCM_"))
        scaled = np.rint(audio_CxT.astype(np.float64) * 2 ** (bits - 1))
        scaled = np.clip(scaled, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1).astype(np.int32)
        samples = scaled << (32 - bits)  # libsndfile takes the upper bits
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", sample_rate, channels=len(audio_CxT), format="WAV", subtype=subtype
    ) as file:
        if comment:
            file.comment = comment
        file.write(samples.T)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def subtype_for(path: Path) -> str:
    """The kind of WAV for what is read of a file: its bits, or 16 where it has none, as an MP3."""
    try:
        found = soundfile.info(path).subtype
    except (soundfile.SoundFileError, OSError):
        return "PCM_16"
    return {"PCM_24": "PCM_24", "PCM_32": "FLOAT", "FLOAT": "FLOAT", "DOUBLE": "FLOAT"}.get(
        found, "PCM_16"
    )


def read_comment(path: Path) -> str:
    """The comment in a file's header; "" where there is none, or no audio file."""
    try:
        with soundfile.SoundFile(path) as file:
            return file.comment
    except (soundfile.SoundFileError, OSError):
        return ""
