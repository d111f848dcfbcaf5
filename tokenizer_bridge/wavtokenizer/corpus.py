"""Music in memory for codec training: mono int16 at the codec's rate, split by track."""

import hashlib
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio

from tokenizer_bridge.errors import UserError


def audio_files(directory: str | Path) -> list[Path]:
    """Every file below `directory` whose ending soundfile knows, sorted.

    Raises:
      UserError: there is none.
    """
    endings = {f".{name.lower()}" for name in soundfile.available_formats()} | {".opus"}
    root = Path(directory)
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in endings and p.is_file())
    if not files:
        raise UserError(f"{directory}: no audio files found below this folder")
    return files


def load_int16(path: Path, sample_rate: int) -> np.ndarray:
    """A whole file mixed down to mono and resampled, int16 (T,).

    Raises:
      UserError: the file cannot be read as audio.
    """
    try:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as e:
        raise UserError(f"{path}: cannot be read as audio ({e})") from e
    mono = torch.from_numpy(samples.mean(axis=1))
    if rate != sample_rate:
        mono = torchaudio.functional.resample(mono, rate, sample_rate)
    return (mono.clamp(-1, 1) * 32767).round().to(torch.int16).numpy()


def hold_out(files: list[Path], root: str | Path, share: float) -> tuple[list[Path], list[Path]]:
    """(training, held-out): the tracks whose path below `root` has the lowest SHA-256.

    At least one track is held out, and at least one is kept for training.

    Raises:
      UserError: there are fewer than two tracks.
    """
    if len(files) < 2:
        raise UserError(f"{root}: needs at least two tracks, one of them held out")

    def digest(path: Path) -> str:
        return hashlib.sha256(path.relative_to(root).as_posix().encode()).hexdigest()

    count = min(len(files) - 1, max(1, round(share * len(files))))
    held = set(sorted(files, key=digest)[:count])
    return [p for p in files if p not in held], sorted(held)
