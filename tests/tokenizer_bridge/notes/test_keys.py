"""Keys of scales and chords whose key everybody knows."""

import pytest

from tests.tokenizer_bridge.notes.tones import melody
from tokenizer_bridge.notes.keys import NAMES, find_key
from tokenizer_bridge.notes.note_list import Notes

# The scale, and its tonic and fifth once more.
MAJOR = (0, 2, 4, 5, 7, 9, 11, 12, 7, 0)
MINOR = (0, 2, 3, 5, 7, 8, 11, 12, 7, 0)


@pytest.mark.parametrize("transposition", range(12))
@pytest.mark.parametrize(("scale", "mode"), [(MAJOR, "major"), (MINOR, "minor")])
def test_every_key_is_found(scale, mode, transposition):
    key = find_key(melody([60 + transposition + step for step in scale]))
    assert (key.tonic, key.mode) == (NAMES[transposition], mode)
    assert 0.8 < key.clarity <= 1


def test_notes_that_sound_longer_count_more():
    passing = [(i, i + 0.1, 61 + i) for i in range(5)]
    held = [(6, 9, 62), (6, 9, 66), (6, 9, 69)]
    key = find_key(Notes.of(passing + held))
    assert (key.tonic, key.mode) == ("D", "major")


def test_a_chromatic_scale_has_no_clear_key():
    uneven = [(i, i + 1 + 0.01 * (i == 3), 60 + i) for i in range(12)]
    assert find_key(Notes.of(uneven)).clarity < 0.7
    assert find_key(melody(range(60, 72), each_s=0.25)) is None
    assert find_key(Notes.of([])) is None
