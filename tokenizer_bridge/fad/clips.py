"""Clips of tracks: which parts of which files are compared, and how they are read."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenizer_bridge.audio.read import LENGTH_TOLERANCE_S, AudioError, length_s, read_excerpt
from tokenizer_bridge.audio.resample import resample
from tokenizer_bridge.cleaning.loudness import Level, normalise_loudness
from tokenizer_bridge.devices import available_cores
from tokenizer_bridge.sources import Failure, Track


@dataclass(frozen=True)
class Clip:
    """A part of a track's file. id, artist: of the track; clips of one track share them."""

    path: Path
    id: str
    artist: str | None
    start_s: float
    clip_s: float

    @property
    def label(self) -> str:
        """The name that messages give it."""
        return str(self.path)


@dataclass(frozen=True, eq=False)
class Sound:
    """A clip that is in memory: (T,) float32, silent or not."""

    id: str
    artist: str | None
    audio_T: np.ndarray
    sample_rate: int  # Hz

    @property
    def clip_s(self) -> float:
        """Its length in seconds."""
        return len(self.audio_T) / self.sample_rate

    @property
    def label(self) -> str:
        """The name that messages give it."""
        return f"clip {self.id}"


@dataclass(frozen=True)
class TooShort(Failure):
    """A track that has not room for its clips; fitting_s: the longest that it has room for."""

    fitting_s: float


def plan_clips(
    tracks: Sequence[Track],
    clip_s: float,
    clips_per_file: int = 1,
    num_workers: int | None = None,
    on_track: Callable[[], None] = lambda: None,
) -> tuple[list[Clip], list[Failure]]:
    """Clips of clip_s seconds, evenly spread over each track: one lies in the middle.

    They don't overlap: a track shorter than all its clips together is a failure, as is one that
    cannot be opened. Both lists are in the order of the tracks; only lengths are read, in
    num_workers threads; as many as cores without. on_track: told of each track, when it is done.
    """

    def plan(track: Track) -> list[Clip] | Failure:
        try:
            duration_s = length_s(track.path)
        except AudioError as error:
            return Failure(track.id, track.path, str(error))
        try:
            starts_s = spread(duration_s, clip_s, clips_per_file)
        except AudioError as error:
            return TooShort(track.id, track.path, str(error), duration_s / clips_per_file)
        return [Clip(track.path, track.id, track.artist, start, clip_s) for start in starts_s]

    plans = []
    with ThreadPoolExecutor(num_workers or available_cores()) as pool:
        for planned in pool.map(plan, tracks):
            plans.append(planned)
            on_track()
    failures = [plan for plan in plans if isinstance(plan, Failure)]
    clips = [clip for plan in plans if not isinstance(plan, Failure) for clip in plan]
    return clips, failures


def spread(duration_s: float, clip_s: float, count: int) -> list[float]:
    """Starts of `count` clips, each in the middle of one of as many equal parts of a track.

    Raises AudioError if they don't fit.
    """
    if duration_s < count * clip_s - LENGTH_TOLERANCE_S:
        several = f"{count} clips of {clip_s:g} s need" if count > 1 else "a clip needs"
        raise AudioError(f"too short: {duration_s:.3f} s; {several} {count * clip_s:g} s")
    part_s = duration_s / count
    return [max(0.0, (i + 0.5) * part_s - clip_s / 2) for i in range(count)]


def read_clip(clip: Clip, sample_rate: int, target_lufs: float | None = None) -> np.ndarray:
    """A clip's float32 audio, mono, (round(clip_s · sample_rate),). Raises AudioError."""
    return read_levelled(clip, sample_rate, target_lufs)[0]


def read_levelled(
    clip: Clip, sample_rate: int, target_lufs: float | None = None, *, silent_ok: bool = False
) -> tuple[np.ndarray, Level]:
    """A clip's audio, as `read_clip` gives it, and its level in the file.

    silent_ok: silence is audio like other.
    """
    audio_T, file_rate = read_excerpt(clip.path, clip.start_s, clip.clip_s, silent_ok=silent_ok)
    num_samples = round(clip.clip_s * sample_rate)
    return prepare(audio_T, file_rate, sample_rate, num_samples, target_lufs)


def prepare(
    audio_T: np.ndarray,
    from_rate: int,
    to_rate: int,
    num_samples: int,
    target_lufs: float | None = None,
) -> tuple[np.ndarray, Level]:
    """(T,) audio made fit for an embedding, (num_samples,) at `to_rate`, and its level before.

    target_lufs: the loudness that a gain brings it to, measured before resampling, so that it is
    the same for all embeddings; None leaves the level as it is. Where rates are odd, up to 0.05%
    of silence fills the end.
    """
    if target_lufs is None:
        level = Level(float(np.abs(audio_T).max(initial=0)), None)
    else:
        audio_T, level = normalise_loudness(audio_T, from_rate, target_lufs)
    resampled_T = resample(audio_T, from_rate, to_rate)[:num_samples]
    return np.pad(resampled_T, (0, num_samples - len(resampled_T))), level
