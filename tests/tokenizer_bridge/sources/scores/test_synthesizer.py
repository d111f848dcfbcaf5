"""FluidSynth, where it is installed, and what is said where it is not."""

import ctypes
import ctypes.util

import numpy as np
import pytest

from tokenizer_bridge.sources.scores import synthesizer
from tokenizer_bridge.sources.scores.synthesizer import (
    SOUND_FONT,
    RenderingError,
    Sounding,
    Synthesizer,
)
from tokenizer_bridge.token_dataset.errors import UserError

installed = pytest.mark.skipif(
    not SOUND_FONT.is_file() or ctypes.util.find_library("fluidsynth") is None,
    reason="needs Debian's packages fluidsynth and fluid-soundfont-gm",
)
NOTES = [Sounding(0.1, 0.6, 69, 90), Sounding(0.8, 1.2, 72, 90)]


def test_without_a_sound_font_the_package_is_named(tmp_path):
    with pytest.raises(UserError, match="apt-get install fluid-soundfont-gm"):
        Synthesizer(tmp_path / "none.sf2")


def test_without_fluidsynth_the_package_is_named(tmp_path, monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    (tmp_path / "a.sf2").write_bytes(b"")
    with pytest.raises(UserError, match="apt-get install fluidsynth"):
        Synthesizer(tmp_path / "a.sf2")


def test_a_note_ends_before_the_same_one_begins_again():
    notes = [Sounding(0.0, 0.5, 60, 80), Sounding(0.5, 1.0, 60, 80)]
    assert [is_on for _, is_on, _ in synthesizer._events(notes)] == [True, False, True, False]


@installed
def test_notes_sound_when_and_as_high_as_asked():
    font = Synthesizer()
    audio = font.render(NOTES, 0, 2.0)
    assert audio.shape == (96000,) and audio.dtype == np.float32
    assert np.abs(audio[:4000]).max() < 1e-4 < 1e-2 < np.abs(audio[4800:9600]).max()
    heard = audio[9600:24000] * np.hanning(14400)
    assert abs(np.abs(np.fft.rfft(heard, 48000)).argmax() - 440) <= 3
    assert np.array_equal(audio, font.render(NOTES, 0, 2.0))


@installed
def test_a_shorter_release_damps_a_harp():
    def after_a_second(release):
        audio = Synthesizer().render([Sounding(0.0, 0.3, 65, 90)], 46, 1.5, release=release)
        return np.square(audio[48000:60000]).mean()

    assert after_a_second(-3600) < 1e-3 * after_a_second(0)


@installed
def test_a_rendering_has_a_deadline():
    with pytest.raises(RenderingError, match="longer than 0 s"):
        Synthesizer().render(NOTES, 0, 2.0, deadline_s=0.0)


@installed
def test_what_is_no_sound_font_is_refused(tmp_path):
    (tmp_path / "a.sf2").write_bytes(b"RIFF")
    with pytest.raises(RenderingError, match="cannot be read"):
        Synthesizer(tmp_path / "a.sf2").render(NOTES, 0, 1.0)
