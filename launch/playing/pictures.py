"""Pictures of a piece that lie on each other, each as wide as the piece is long."""

import io

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.image import imsave

from tokenizer_bridge.pages.pictures import data_url

_COLUMNS = 640  # of a spectrogram at most
_ROWS = 96
_WINDOW = 2048  # samples
_LOWEST_HZ = 60.0
_RANGE_DB = 60.0  # below the loudest
_BARS = 240  # of a waveform


def waveform(samples_T: np.ndarray, label: str) -> Markup:
    """The peaks of (T,) audio in ±1 as bars in the page's ink."""
    peaks = [np.abs(part).max(initial=0) for part in np.array_split(samples_T, _BARS)]
    heights = np.clip(np.array(peaks) / max(max(peaks), 1e-3), 0.02, 1.0) * 96
    bars = "".join(f"M{i + 0.15:g} {50 - h / 2:.1f}h.7v{h:.1f}h-.7z" for i, h in enumerate(heights))
    return Markup(
        '<svg class="wave" role="img" aria-label="{}" viewBox="0 0 {} 100" '
        'preserveAspectRatio="none"><path fill="currentColor" d="{}"/></svg>'
    ).format(label, _BARS, bars)


def spectrogram(samples_T: np.ndarray, rate: int, label: str) -> Markup:
    """dB magnitudes of (T,) audio: time to the right, pitch upwards, an octave as high as any."""
    padded_T = np.pad(samples_T, _WINDOW // 2)
    count = int(np.clip(len(samples_T) // (_WINDOW // 8), 2, _COLUMNS))
    starts = np.linspace(0, len(padded_T) - _WINDOW, count).astype(int)
    frames_CxT = np.stack([padded_T[start : start + _WINDOW] for start in starts])
    spectrum_CxF = np.abs(np.fft.rfft(frames_CxT * np.hanning(_WINDOW)))
    edges = np.geomspace(_LOWEST_HZ, rate / 2, _ROWS + 1) / rate * _WINDOW
    low, high = np.floor(edges[:-1]).astype(int), np.ceil(edges[1:]).astype(int)
    rows_RxC = np.stack(
        [spectrum_CxF[:, a : max(b, a + 1)].max(1) for a, b in zip(low, high, strict=True)]
    )
    decibels_RxC = 20 * np.log10(rows_RxC + 1e-9)
    loudest = max(float(decibels_RxC.max()), -60.0)
    shade_RxC = np.clip((decibels_RxC - loudest) / _RANGE_DB + 1, 0, 1)[::-1]
    buffer = io.BytesIO()
    imsave(buffer, colormaps["magma"](shade_RxC, bytes=True), format="png")
    return Markup('<img class="spectrum" alt="{}" src="{}">').format(
        label, data_url(buffer.getvalue(), "image/png")
    )
