"""Tokens to what is heard in them: decoded by their codec, then listened to; kept on disk.

A listener turns the audio of a piece into an array. Arrays are kept in a folder (fad/cache.py),
keyed by tokens, codec and listener, so that a stopped job goes on where it was, and so that real
pieces are heard once, however many models are judged.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from tokenizer_bridge.audio.choices import DECODING
from tokenizer_bridge.audio.windows import Windowing
from tokenizer_bridge.decoding import decode_pieces, stamp_of
from tokenizer_bridge.fad.cache import VectorCache, entry_key
from tokenizer_bridge.fad.clips import prepare
from tokenizer_bridge.fad.embeddings import load_embedding
from tokenizer_bridge.judging.pieces import Piece
from tokenizer_bridge.notes.transcription import Transcriber
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.registry import CodecInfo

_VERSION = 1  # of what is heard: a new one leaves older entries unused
_WINDOWS_IN_A_BATCH = 8  # of decoding

Heard = dict[str, list[np.ndarray]]  # listener's name → what it heard in each piece


class Listener(Protocol):
    """Something that hears. name: distinct; facts: JSON values that what it hears depends on;
    least_s: seconds of the shortest piece.
    """

    name: str
    facts: dict[str, Any]
    least_s: float

    def hear(self, audio_T: np.ndarray, sample_rate: int) -> np.ndarray:
        """An array of a piece's (T,) float32 audio."""


class Musicnn:
    """musicnn's vectors of a piece, (W, 200), one for each window of 3 s."""

    name = "musicnn"

    def __init__(self):
        self._embedding = load_embedding(self.name)
        self.info = self._embedding.info
        self.facts = dataclasses.asdict(self.info)
        self.least_s = self._embedding.min_samples / self.info.sample_rate

    def hear(self, audio_T: np.ndarray, sample_rate: int) -> np.ndarray:
        rate = self.info.sample_rate
        num_samples = round(len(audio_T) * rate / sample_rate)
        prepared_T, _ = prepare(audio_T, sample_rate, rate, num_samples)
        return self._embedding.embed(torch.from_numpy(prepared_T)[None])[0].numpy()


class Transcription:
    """The notes of a piece, (N, 3): beginning and end in seconds, MIDI pitch."""

    name = "notes"
    least_s = 0.0

    def __init__(self):
        self._transcriber = Transcriber()
        self.facts = {"network": "basic-pitch 0.4.0"}

    def hear(self, audio_T: np.ndarray, sample_rate: int) -> np.ndarray:
        notes = self._transcriber(audio_T, sample_rate)
        return np.stack([notes.start_N, notes.end_N, notes.pitch_N], axis=1)


LISTENERS: dict[str, Callable[[], Listener]] = {"musicnn": Musicnn, "notes": Transcription}


def hear(
    pieces: Sequence[Piece],
    codec: WavTokenizer,
    info: CodecInfo,
    listeners: Sequence[Listener],
    folder: Path,
    on_piece: Callable[[], None] = lambda: None,
) -> Heard:
    """Everything that the listeners hear in the pieces, in their order.

    codec, info: as `load_codec` returns them. folder: where it is kept. on_piece: told of each
    piece, in any order. A few pieces are decoded at a time; audio is clipped and rounded to 16
    bits, as in the files of `decode`.
    """
    cache = VectorCache(folder)
    windowing = Windowing.from_seconds(*DECODING, info.sample_rate / info.hop_length)
    stamps = [stamp_of(piece.tokens_L, info, windowing) for piece in pieces]

    def key(i: int, listener: Listener) -> str:
        return entry_key(
            version=_VERSION, audio=stamps[i], listener=listener.name, facts=listener.facts
        )

    found: dict[int, dict[str, np.ndarray]] = {}
    for i in range(len(pieces)):
        kept = {listener.name: cache.get(key(i, listener)) for listener in listeners}
        found[i] = {name: entry["heard"] for name, entry in kept.items() if entry is not None}
        if len(found[i]) == len(listeners):
            on_piece()
    missing = [i for i in range(len(pieces)) if len(found[i]) < len(listeners)]
    tokens = ((i, pieces[i].tokens_L) for i in missing)
    for i, audio_T in decode_pieces(codec, tokens, windowing, _WINDOWS_IN_A_BATCH):
        rounded_T = np.round(np.clip(audio_T, -1, 1) * 32767).astype(np.float32) / 32767
        for listener in listeners:
            if listener.name not in found[i]:
                heard = listener.hear(rounded_T, info.sample_rate)
                cache.put(key(i, listener), heard=heard)
                found[i][listener.name] = heard
        on_piece()
    return {
        listener.name: [found[i][listener.name] for i in range(len(pieces))]
        for listener in listeners
    }
