"""Figures, spectrograms and players, as text that a page holds itself."""

import base64
import io
import re

import numpy as np
import soundfile
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

# Drawn in this colour, a line or word takes the colour of the page's text.
INK = "#123456"
# Told apart in light and dark alike, and by people who see few colours (Okabe and Ito 2008).
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")

_LEAST = 0.75  # of a plot's size
_STYLE = {
    "svg.fonttype": "none",  # words stay words: small, searchable, in the page's font
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.labelcolor": INK,
}


def plot(draw, width: float, height: float, label: str) -> Markup:
    """Inline SVG of what `draw(figure)` draws; width and height in inches.

    label: says what is seen to those who do not see it; it also keeps the ids of two pictures on a
    page apart. The same data give the same bytes.
    """
    with rc_context(_STYLE | {"svg.hashsalt": label}):
        figure = Figure(figsize=(width, height), layout="constrained")
        draw(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # The size is the page's affair; the same ids for the same parts of every figure are no ids.
    svg = re.sub(r'(<svg [^>]*?)width="[^"]*" height="[^"]*"', r"\1", svg, count=1, flags=re.S)
    svg = re.sub(r'<g id="[^"]*_\d+"', "<g", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    # On narrow screens it is scrolled before its words become too small to read.
    style = f"max-width: {width}in; --least: {_LEAST * width:g}in"
    return Markup('<div class="plot" role="img" aria-label="{}" style="{}">{}</div>').format(
        label, style, Markup(svg)
    )


def spectrogram(samples: np.ndarray, rate: int) -> str:
    """dB magnitudes over time, up to half the sample rate: a data URL."""
    figure = Figure(figsize=(6, 1.9))
    axes = figure.subplots()
    long_enough = np.pad(samples, (0, max(0, 1280 - len(samples))))
    with np.errstate(divide="ignore"):  # digital silence has −∞ dB
        axes.specgram(long_enough, NFFT=1024, Fs=rate, noverlap=768, cmap="magma", vmin=-120,
                      vmax=-30)  # fmt: skip
    axes.set(xlabel="s", ylabel="Hz")
    return png(figure)


def png(figure: Figure) -> str:
    """A figure as a PNG's data URL."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90, bbox_inches="tight")
    return data_url(buffer.getvalue(), "image/png")


def player(samples: np.ndarray, rate: int) -> str:
    """(T,) audio as FLAC: a data URL for an <audio> element."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return data_url(buffer.getvalue(), "audio/flac")


def data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
