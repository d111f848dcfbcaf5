"""The picture of a piece's notes: time to the right, pitch upwards."""

from markupsafe import Markup
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from tokenizer_bridge.notes.note_list import Notes
from tokenizer_bridge.pages.pictures import COLOURS, plot

_OCTAVE = 12
_USUAL = (60, 72)  # an octave that is shown whatever there is
_HEIGHT = 0.8  # of a note; 1 is the distance of two pitches


def piano_roll(notes: Notes, seconds: float, label: str) -> Markup:
    """A bar for each note of `seconds` of music. label: as for `pages.pictures.plot`."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        bars = [
            [(start, pitch), (end, pitch), (end, pitch + _HEIGHT), (start, pitch + _HEIGHT)]
            for start, end, pitch in zip(
                notes.start_N.tolist(),
                notes.end_N.tolist(),
                (notes.pitch_N - _HEIGHT / 2).tolist(),
                strict=True,
            )
        ]
        axes.add_collection(PolyCollection(bars, facecolors=COLOURS[0]))
        low, high = min([_USUAL[0], *notes.pitch_N]), max([_USUAL[1], *notes.pitch_N])
        octaves = range(-(-low // _OCTAVE), high // _OCTAVE + 1)
        axes.set_yticks([_OCTAVE * i for i in octaves], [f"C{i - 1}" for i in octaves])
        axes.grid(axis="y", linewidth=0.4, alpha=0.5)
        axes.set(xlim=(0, seconds), ylim=(low - 1, high + 1), xlabel="seconds", ylabel="pitch")

    return plot(draw, 6, 1.5, label)
