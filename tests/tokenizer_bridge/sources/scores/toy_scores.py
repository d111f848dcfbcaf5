"""Scores and a synthesiser of toy size."""

from pathlib import Path

import numpy as np

from tokenizer_bridge.sources.scores.score import Note, Score
from tokenizer_bridge.sources.scores.synthesizer import RenderingError


def tune(number: int, genre: str = "reel", length: int = 64, lowest: int = 62) -> Score:
    """A melody of eighth notes that only `number` decides."""
    steps = np.random.default_rng(number).integers(0, 12, length)
    notes = [Note(0.5 * i, 0.5, lowest + int(step)) for i, step in enumerate(steps)]
    return Score(f"book/{number}.abc", "", genre, "2/4", 2.0, 0.0, 2, "major", tuple(notes))


def chorale(number: int) -> Score:
    """Four voices of quarter notes."""
    notes = tuple(
        Note(float(i), 1.0, 67 - 7 * voice + (number + i * i) % 5, voice)
        for voice in range(4)
        for i in range(16)
    )
    return Score(f"bach/{number}.mxl", "", "chorale", "4/4", 4.0, 0.0, 0, "minor", notes)


class Sines:
    """Stands in for FluidSynth: a sine a note. refused: programs that it cannot play."""

    sample_rate = 48000
    version = "0"

    def __init__(self, sound_font: Path, refused: tuple[int, ...] = ()):
        sound_font.write_bytes(b"sines")
        self.sound_font = sound_font
        self.refused = refused
        self.rendered = 0

    def render(self, notes, program, seconds, release):
        if program in self.refused:
            raise RenderingError("no such instrument")
        self.rendered += 1
        audio = np.zeros(round(seconds * self.sample_rate), np.float32)
        for note in notes:
            start, end = (round(s * self.sample_rate) for s in (note.start_s, note.end_s))
            phase = np.arange(end - start) * 440 * 2 ** ((note.pitch - 69) / 12) / self.sample_rate
            audio[start:end] += 0.1 * np.sin(2 * np.pi * phase)
        return audio
