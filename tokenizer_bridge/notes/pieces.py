"""Excerpts of pieces, their codes, and the notes that are heard in them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from tokenizer_bridge.audio.read import AudioError, length_s, read_excerpt
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.decoding import decode_batch
from tokenizer_bridge.encoding.tracks import encode_batch
from tokenizer_bridge.notes.note_list import Notes
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

Item = TypeVar("Item")
Result = TypeVar("Result")

_SHORTEST_S = 1.0


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A stretch of a piece: (T,) float32 at `rate` Hz, from `start_s` of its file on."""

    id: str
    audio_T: np.ndarray
    rate: int
    start_s: float = 0.0

    @property
    def seconds(self) -> float:
        return len(self.audio_T) / self.rate


@dataclass(frozen=True, eq=False)
class Piece:
    """The notes heard in an excerpt of `seconds`, and its codes (L,), where they are known."""

    id: str
    notes: Notes
    seconds: float
    start_s: float = 0.0
    codes_L: np.ndarray | None = None


def read_middle(track: Track, seconds: float) -> Excerpt:
    """So much from the middle of a file, or all of it. Silence is music that has no notes.

    Raises UserError for a file that cannot be read or is shorter than a second.
    """
    try:
        total_s = length_s(track.path)
        if total_s < _SHORTEST_S:
            raise AudioError(f"{total_s:.2f} s long; {_SHORTEST_S:g} s are needed")
        taken_s = min(seconds, total_s)
        start_s = (total_s - taken_s) / 2
        audio_T, rate = read_excerpt(track.path, start_s, taken_s, silent_ok=True)
    except AudioError as error:
        raise UserError(f"{track.path}: {error}") from error
    return Excerpt(track.id, audio_T, rate, start_s)


def encode(codec: WavTokenizer, excerpt: Excerpt) -> np.ndarray:
    """The codes (L,) of an excerpt."""
    audio_T = resample(excerpt.audio_T, excerpt.rate, codec.config.sample_rate)
    return encode_batch(codec, audio_T[None])[0]


def decode(codec: WavTokenizer, id: str, codes_L: np.ndarray, start_s: float) -> Excerpt:
    """The sound of codes, as a player would have it from a file."""
    audio_T = decode_batch(codec, codes_L[None].astype(np.int64))[0]
    return Excerpt(id, np.clip(audio_T, -1, 1), codec.config.sample_rate, start_s)


def in_threads(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    num_workers: int,
    on_item: Callable[[], object] = lambda: None,
) -> list[Result]:
    """`work` of every item, in their order, so many at a time with a thread each."""
    torch.get_num_threads()  # fixes the number of the caller's, before the workers set theirs

    def done(item: Item) -> Result:
        result = work(item)
        on_item()
        return result

    with ThreadPoolExecutor(num_workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            return list(pool.map(done, items))
        finally:
            pool.shutdown(cancel_futures=True)
