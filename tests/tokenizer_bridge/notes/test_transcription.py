"""Notes that are heard in tones of known pitch and time."""

import numpy as np
import pytest

from tests.tokenizer_bridge.notes.tones import RATE, melody, sound
from tokenizer_bridge.notes import network
from tokenizer_bridge.notes.agreement import agree
from tokenizer_bridge.notes.network import SAMPLE_RATE, PitchNetwork
from tokenizer_bridge.notes.note_list import Notes
from tokenizer_bridge.notes.transcription import Transcriber


@pytest.fixture(scope="module")
def transcriber():
    return Transcriber()


def test_a_melody_across_windows_is_heard_note_by_note(transcriber):
    played = melody([60, 62, 64, 65, 67, 69, 71, 72, 55, 57, 59, 76, 74, 48])
    heard = transcriber(sound(played), RATE)
    counted = agree(played, heard)
    assert (counted.precision, counted.recall) == (1, 1)
    assert np.abs(heard.start_N - played.start_N).max() < 0.025
    assert np.median(np.abs(heard.end_N - played.end_N)) < 0.1


def test_notes_of_a_chord_are_heard_apart(transcriber):
    played = Notes.of([(0.2, 1.2, 60), (0.2, 1.2, 64), (0.2, 1.2, 67)])
    assert agree(played, transcriber(sound(played), RATE)).f1 == 1


@pytest.mark.parametrize("audio_T", [np.zeros(0), np.zeros(10), np.zeros(RATE)])
def test_silence_has_no_notes(transcriber, audio_T):
    assert len(transcriber(audio_T, RATE)) == 0


def test_windows_join_without_a_seam():
    """A signal that is delayed by whole frames gives the same, delayed, wherever windows end."""
    rng, hears = np.random.default_rng(0), PitchNetwork()
    audio_T = (0.1 * rng.standard_normal(4 * SAMPLE_RATE)).astype(np.float32)
    delay = 50
    later_T = np.concatenate([np.zeros(delay * network.HOP, np.float32), audio_T])
    first, later = hears(audio_T), hears(later_T)
    num_frames = -(-len(audio_T) // network.HOP)
    assert first.notes_FxP.shape == (num_frames, network.NUM_PITCHES) == first.onsets_FxP.shape
    inner = slice(20, num_frames - 40)
    difference = np.abs(first.notes_FxP[inner] - later.notes_FxP[delay:][inner])
    assert difference.mean() < 0.01
