"""Music in memory for codec training: mono int16 at the codec's rate, split by track."""

import hashlib
from collections import Counter
from collections.abc import Sequence

import numpy as np

from tokenizer_bridge.audio.read import AudioError, read_mono, require_sha256
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.errors import UserError


def load_int16(track: Track, sample_rate: int, min_seconds: float) -> np.ndarray:
    """A whole track, mono at `sample_rate`, int16 (T,).

    Raises:
      UserError: the file has no usable audio or is shorter than `min_seconds`.
    """
    try:
        if track.sha256 is not None:
            require_sha256(track.path, track.sha256)
        audio_T = read_mono(track.path, sample_rate)
    except AudioError as error:
        raise UserError(f"{track.path}: {error}; take it out of the folder") from error
    if len(audio_T) < min_seconds * sample_rate:
        raise UserError(f"{track.path}: shorter than {min_seconds:g} s; take it out of the folder")
    return (audio_T.clip(-1, 1) * 32767).round().astype(np.int16)


def hold_out(tracks: Sequence[Track], share: float) -> tuple[list[Track], list[Track]]:
    """(training, held out): the latter are the artists whose names have the lowest SHA-256.

    An artist (in a corpus of scores: a tune) with more tracks than are to be held out stays in
    training; where that leaves none, and where none are known, it goes by the tracks' ids. At least
    one track is held out, and at least one is kept for training. Where the source has splits of its
    own, `train` and `validation` are taken instead, and `test` is left out.

    Raises:
      UserError: there are fewer than two tracks, or the source's splits lack one of the two.
    """
    if any(track.split for track in tracks):
        own = [[t for t in tracks if t.split == split] for split in ("train", "validation")]
        if not all(own):
            raise UserError("codec training needs tracks of the splits train and validation")
        return own[0], own[1]
    if len(tracks) < 2:
        raise UserError("codec training needs at least two tracks, one of them held out")
    count = min(len(tracks) - 1, max(1, round(share * len(tracks))))
    held = _lowest([track.artist or track.id for track in tracks], count)
    kept = [t for t in tracks if (t.artist or t.id) not in held]
    if not held:
        held = _lowest([track.id for track in tracks], count)
        kept = [t for t in tracks if t.id not in held]
    ids = {track.id for track in kept}
    return kept, [t for t in tracks if t.id not in ids]


def _lowest(names: Sequence[str], count: int) -> set[str]:
    """The names of lowest SHA-256 that stand for at most `count` tracks in all."""
    sizes, chosen = Counter(names), set()
    for name in sorted(sizes, key=lambda name: hashlib.sha256(name.encode()).hexdigest()):
        if sizes[name] <= count:
            chosen.add(name)
            count -= sizes[name]
    return chosen
