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
_TOKEN_ROWS = 32  # of a picture of tokens; its height in the style sheet is a multiple
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


def spectrogram(samples_T: np.ndarray, rate: int, label: str) -> Markup:
    """dB magnitudes over time, up to half the sample rate; label: as for `plot`."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        long_enough = np.pad(samples_T, (0, max(0, 1280 - len(samples_T))))
        with np.errstate(divide="ignore"):  # digital silence has −∞ dB
            axes.specgram(long_enough, NFFT=1024, Fs=rate, noverlap=768, cmap="magma", vmin=-120,
                          vmax=-30)  # fmt: skip
        axes.set(xlabel="seconds", ylabel="Hz")

    return plot(draw, 6, 1.9, label)


def token_picture(ranks_L: np.ndarray, num_codes: int, label: str) -> Markup:
    """A mark for each token in the page's ink: time to the right, its code's rank upwards.

    ranks_L: (L,) in [0, num_codes). Drawn so that a token is a whole number of pixels wide.
    """
    rows_L = _TOKEN_ROWS - 1 - ranks_L.astype(np.int64) * _TOKEN_ROWS // num_codes
    starts = np.flatnonzero(np.diff(rows_L, prepend=-1))  # equal neighbours are one mark
    lengths = np.diff(starts, append=len(rows_L))
    marks = "".join(
        f"M{x} {y}h{length}v1h-{length}z"
        for x, y, length in zip(starts, rows_L[starts], lengths, strict=True)
    )
    return Markup(
        '<div class="tokens" role="img" aria-label="{}"><svg viewBox="0 0 {} {}" '
        'preserveAspectRatio="none" shape-rendering="crispEdges" style="--tokens: {}px">'
        '<path fill="currentColor" d="{}"/></svg></div>'
    ).format(label, len(rows_L), _TOKEN_ROWS, len(rows_L), marks)


def player(samples: np.ndarray, rate: int) -> str:
    """(T,) audio as FLAC: a data URL for an <audio> element."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(samples, -1, 1), rate, format="FLAC", subtype="PCM_16")
    return data_url(buffer.getvalue(), "audio/flac")


def data_url(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
