"""FluidSynth, driven note by note through its C library, so that it renders what is asked, no more.

`fluidsynth -F` plays a MIDI file until it decides that the piece has ended, which for some files
never comes; here the number of samples is known beforehand.
"""

import ctypes
import ctypes.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenizer_bridge.sources.scores import SOUND_FONT
from tokenizer_bridge.token_dataset.errors import UserError

_RATE = 48000  # Hz
_BLOCK = 64  # samples: FluidSynth starts and ends notes at multiples of it
_GAIN = 0.5
_POLYPHONY = 32  # voices: a harp rings for seconds, and its faintest strings would cost time only
_RELEASE = 38  # SoundFont generator: release of the volume envelope, timecents
_P, _I, _D, _S = ctypes.c_void_p, ctypes.c_int, ctypes.c_double, ctypes.c_char_p
_FUNCTIONS = {  # name -> (result, arguments)
    "new_fluid_settings": (_P, []),
    "delete_fluid_settings": (None, [_P]),
    "fluid_settings_setnum": (_I, [_P, _S, _D]),
    "fluid_settings_setint": (_I, [_P, _S, _I]),
    "new_fluid_synth": (_P, [_P]),
    "delete_fluid_synth": (None, [_P]),
    "fluid_synth_sfload": (_I, [_P, _S, _I]),
    "fluid_synth_program_select": (_I, [_P, _I, _I, _I, _I]),
    "fluid_synth_set_gen": (_I, [_P, _I, _I, ctypes.c_float]),
    "fluid_synth_noteon": (_I, [_P, _I, _I, _I]),
    "fluid_synth_noteoff": (_I, [_P, _I, _I]),
    "fluid_synth_write_float": (_I, [_P, _I, _P, _I, _I, _P, _I, _I]),
    "fluid_version_str": (_S, []),
}


class RenderingError(Exception):
    """A piece that the synthesiser does not render."""


@dataclass(frozen=True)
class Sounding:
    """A note as it is played. start_s, end_s: seconds. pitch, velocity: MIDI, 0 to 127."""

    start_s: float
    end_s: float
    pitch: int
    velocity: int


class Synthesizer:
    """Renders notes dry (no reverb, no chorus). The same notes give the same samples."""

    sample_rate = _RATE

    def __init__(self, sound_font: Path = SOUND_FONT):
        """Raises UserError if there is no FluidSynth, or no sound font."""
        self.sound_font = sound_font
        if not sound_font.is_file():
            raise UserError(
                f"{sound_font}: there is no such sound font. FluidR3_GM.sf2 is in Debian's and "
                "Ubuntu's package fluid-soundfont-gm (MIT licence, a download of 120 MB): "
                "apt-get install fluid-soundfont-gm"
            )
        self._library = _load_library()

    @property
    def version(self) -> str:
        return self._library.fluid_version_str().decode()

    def render(
        self,
        notes: Sequence[Sounding],
        program: int,
        seconds: float,
        *,
        release: float = 0.0,
        deadline_s: float = 60.0,
    ) -> np.ndarray:
        """Notes on one General MIDI instrument -> [samples] fp32, mono, at `sample_rate`.

        program: from 0. release: timecents by which notes die away longer than the sound font says
        (-1200 halves it). Raises RenderingError if FluidSynth refuses, or if it takes longer than
        deadline_s seconds.
        """
        library, began = self._library, time.monotonic()
        settings = library.new_fluid_settings()
        for name in ("synth.reverb.active", "synth.chorus.active"):
            library.fluid_settings_setint(settings, name.encode(), 0)
        library.fluid_settings_setint(settings, b"synth.dynamic-sample-loading", 1)
        library.fluid_settings_setint(settings, b"synth.polyphony", _POLYPHONY)
        library.fluid_settings_setnum(settings, b"synth.sample-rate", float(_RATE))
        library.fluid_settings_setnum(settings, b"synth.gain", _GAIN)
        synth = library.new_fluid_synth(settings)
        try:
            font = library.fluid_synth_sfload(synth, bytes(self.sound_font), 1)
            if font < 0 or library.fluid_synth_program_select(synth, 0, font, 0, program) < 0:
                raise RenderingError(f"{self.sound_font}: cannot be read, or lacks {program}")
            library.fluid_synth_set_gen(synth, 0, _RELEASE, release)
            out = np.zeros((_blocks(seconds) * _BLOCK, 2), np.float32)
            at = 0
            for block, is_on, note in _events(notes):
                at = self._write(synth, out, at, min(block * _BLOCK, len(out)))
                if is_on:
                    library.fluid_synth_noteon(synth, 0, note.pitch, note.velocity)
                else:
                    library.fluid_synth_noteoff(synth, 0, note.pitch)
                if time.monotonic() - began > deadline_s:
                    raise RenderingError(f"took longer than {deadline_s:.0f} s")
            self._write(synth, out, at, len(out))
        finally:
            library.delete_fluid_synth(synth)
            library.delete_fluid_settings(settings)
        return out.mean(axis=1)

    def _write(self, synth: int, out: np.ndarray, start: int, end: int) -> int:
        """Renders out[start:end]; returns where the next samples belong."""
        if end <= start:
            return start
        address = out[start:end].ctypes.data
        if self._library.fluid_synth_write_float(synth, end - start, address, 0, 2, address, 1, 2):
            raise RenderingError("FluidSynth failed")
        return end


def _blocks(seconds: float) -> int:
    return round(seconds * _RATE / _BLOCK)


def _events(notes: Sequence[Sounding]) -> list[tuple[int, bool, Sounding]]:
    """(block, whether it begins, note) in order; at one time notes end before others begin."""
    events = []
    for note in notes:
        start = _blocks(note.start_s)
        events.append((start, True, note))
        events.append((max(_blocks(note.end_s), start + 1), False, note))
    return sorted(events, key=lambda event: (event[0], event[1], event[2].pitch))


def _load_library() -> ctypes.CDLL:
    name = ctypes.util.find_library("fluidsynth")
    try:
        library = ctypes.CDLL(name or "libfluidsynth.so.3")
    except OSError as error:
        raise UserError(
            "FluidSynth is not installed. Debian's and Ubuntu's package is fluidsynth (LGPL-2.1 or "
            "later, with its libraries a download of some 10 MB): apt-get install fluidsynth"
        ) from error
    for function, (result, arguments) in _FUNCTIONS.items():
        getattr(library, function).restype = result
        getattr(library, function).argtypes = arguments
    return library
