"""Basic Pitch's network, which hears in audio which notes sound and where they begin.

Bittner, Bosch, Rubinstein, Meseguer-Brocal and Ewert, "A lightweight instrument-agnostic model for
polyphonic note transcription and multipitch estimation", ICASSP 2022, arXiv 2203.09893. The ONNX
file is that of the package basic-pitch 0.4.0 and is run by onnxruntime.

F frames of 256 samples at 22,050 Hz (11.6 ms), P = 88 pitches from MIDI 21 upwards.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

SAMPLE_RATE = 22_050  # Hz
HOP = 256  # samples; frame i is centred at sample i · HOP
FRAME_S = HOP / SAMPLE_RATE
NUM_PITCHES = 88

_MODEL = Path(__file__).parents[1] / "assets" / "basic_pitch" / "nmp.onnx"
_INPUT = "serving_default_input_2:0"
_OUTPUTS = ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2"]  # notes, onsets
_WINDOW = 43_844  # samples that the network takes
_FRAMES = 172  # of a window
_MARGIN = 15  # frames at each end of a window that see silence instead of what is beyond it
_KEPT = _FRAMES - 2 * _MARGIN
_WINDOWS_IN_A_BATCH = 4


@dataclass(frozen=True, eq=False)
class Activations:
    """The network's certainty that a note sounds, and that one begins: (F, P) float32 in [0, 1]."""

    notes_FxP: np.ndarray
    onsets_FxP: np.ndarray


class PitchNetwork:
    """The network in memory; safe to share between threads. num_threads: of each call."""

    def __init__(self, num_threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = num_threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            _MODEL, options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, audio_T: np.ndarray) -> Activations:
        """Activations of (T,) float32 audio at SAMPLE_RATE: F = ceil(T / HOP)."""
        num_frames = -(-len(audio_T) // HOP)
        num_windows = max(1, -(-num_frames // _KEPT))
        # Windows advance by whole frames, so that the kept ones join without a seam in time.
        length = (num_windows - 1) * _KEPT * HOP + _WINDOW
        padded_T = np.zeros(length, np.float32)
        audio_T = audio_T[: length - _MARGIN * HOP]
        padded_T[_MARGIN * HOP : _MARGIN * HOP + len(audio_T)] = audio_T
        windows_WxT = np.lib.stride_tricks.sliding_window_view(padded_T, _WINDOW)[:: _KEPT * HOP]
        notes, onsets = [], []
        for i in range(0, num_windows, _WINDOWS_IN_A_BATCH):
            batch_WxTx1 = np.ascontiguousarray(windows_WxT[i : i + _WINDOWS_IN_A_BATCH, :, None])
            notes_WxFxP, onsets_WxFxP = self._session.run(_OUTPUTS, {_INPUT: batch_WxTx1})
            notes.append(notes_WxFxP[:, _MARGIN:-_MARGIN].reshape(-1, NUM_PITCHES))
            onsets.append(onsets_WxFxP[:, _MARGIN:-_MARGIN].reshape(-1, NUM_PITCHES))
        return Activations(np.concatenate(notes)[:num_frames], np.concatenate(onsets)[:num_frames])
