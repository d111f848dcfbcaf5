"""Held-out music for measurements: tracks of a folder, and a clip from the middle of each.

Letters: N clips, T samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tokenizer_bridge.audio.errors import AudioError
from tokenizer_bridge.fad.clips import plan_clips, read_clip
from tokenizer_bridge.sources import folder, subset
from tokenizer_bridge.sources.track import Track
from tokenizer_bridge.token_dataset.command import naming
from tokenizer_bridge.token_dataset.errors import UserError


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Clips that were read. left_out: the tracks that were not, each with the reason."""

    sound_NxT: np.ndarray
    artists_N: list[str | None]
    left_out: list[str]


def find_tracks(audio: str, num_tracks: int | None, seed: int) -> list[Track]:
    """The tracks of the folder --audio, or so many that the seed draws. Raises UserError."""
    with naming("--audio"):
        tracks = folder.tracks(audio)
        return subset(tracks, num_tracks, seed) if num_tracks else tracks


def read_middles(audio: str, tracks: Sequence[Track], clip_s: float, sample_rate: int) -> HeldOut:
    """A clip of `clip_s` from the middle of each track that is as long, at `sample_rate`, in Hz.

    audio: the folder's name for messages. Raises UserError where fewer than two tracks are as long,
    or a clip cannot be read.
    """
    clips, failures = plan_clips(tracks, clip_s)
    left_out = [f"{failure.path}: {failure.reason}" for failure in failures]
    if len(clips) < 2:
        reason = f": {left_out[0]}" if left_out else ""
        raise UserError(f"{audio}: {len(clips)} tracks are usable, two are needed{reason}")
    sounds = []
    for clip in clips:
        try:
            sounds.append(read_clip(clip, sample_rate))
        except AudioError as error:
            raise UserError(f"{clip.path}: {error}") from error
    return HeldOut(np.stack(sounds), [clip.artist for clip in clips], left_out)
