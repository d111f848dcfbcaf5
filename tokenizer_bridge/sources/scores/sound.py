"""Rendered samples made into a file of the corpus."""

from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from tokenizer_bridge.token_dataset.files import atomic_file

SAMPLE_RATE = 24000  # Hz
_SILENCE_DB = -55.0  # below the loudest 20 ms
_FADE_S = 0.05
_RMS_DB, _PEAK_DB = -20.0, -1.0  # full scale


def finished(audio: np.ndarray, sample_rate: int) -> np.ndarray:
    """[samples] at sample_rate, a multiple of 24 kHz -> [samples] at 24 kHz, cut and levelled.

    What is silent at the end is cut off. The level is -20 dB RMS where there is sound, or as much
    as keeps the peak below -1 dB. Raises ValueError if there is no sound at all.
    """
    audio = resample_poly(audio.astype(np.float64), 1, sample_rate // SAMPLE_RATE)
    hop = SAMPLE_RATE // 50
    frames = audio[: len(audio) // hop * hop].reshape(-1, hop)
    power = (frames**2).mean(axis=1)
    if not power.size or not power.max() > 0:
        raise ValueError("silent from end to end")
    sounding = np.flatnonzero(power > power.max() * 10 ** (_SILENCE_DB / 10))
    audio = audio[: (sounding[-1] + 1) * hop]
    fade = min(int(_FADE_S * SAMPLE_RATE), len(audio))
    audio[len(audio) - fade :] *= np.linspace(1, 0, fade)
    rms = np.sqrt(power[sounding].mean())
    gain = min(10 ** (_RMS_DB / 20) / rms, 10 ** (_PEAK_DB / 20) / np.abs(audio).max())
    return (audio * gain).astype(np.float32)


def write(path: Path, audio: np.ndarray) -> None:
    """A FLAC file of 16 bits, whole or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path, durable=False) as temporary:
        soundfile.write(temporary, audio, SAMPLE_RATE, subtype="PCM_16", format="FLAC")
