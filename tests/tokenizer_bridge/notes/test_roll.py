"""Piano rolls."""

from tests.tokenizer_bridge.notes.tones import melody
from tokenizer_bridge.notes.note_list import Notes
from tokenizer_bridge.notes.roll import piano_roll


def bars(svg):
    return svg.count("fill: #0072b2")


def test_every_note_has_a_bar_and_the_octaves_their_names():
    svg = str(piano_roll(melody([48, 60, 84]), 3, "Notes heard in it"))
    assert bars(svg) == 3
    assert 'aria-label="Notes heard in it"' in svg
    assert all(f">C{octave}<" in svg for octave in (3, 4, 5, 6)) and ">C2<" not in svg


def test_silence_has_an_empty_roll():
    svg = str(piano_roll(Notes.of([]), 3, "Nothing"))
    assert bars(svg) == 0 and ">C4<" in svg
