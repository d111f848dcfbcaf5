"""Audio into notes."""

import numpy as np

from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.notes.network import SAMPLE_RATE, PitchNetwork
from tokenizer_bridge.notes.note_list import Notes
from tokenizer_bridge.notes.note_making import make_notes


class Transcriber:
    """Hears notes. num_threads: of each call; calls may be made side by side."""

    def __init__(self, num_threads: int = 1):
        self._network = PitchNetwork(num_threads)

    def __call__(self, audio_T: np.ndarray, rate: int) -> Notes:
        """The notes of (T,) audio at `rate` Hz, float in ±1."""
        audio_T = np.asarray(audio_T, np.float32)
        if not len(audio_T):
            return Notes.of([])
        return make_notes(self._network(resample(audio_T, rate, SAMPLE_RATE)))
