"""A look ahead of an encoding: files that cannot be used, and silence at several thresholds."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from tokenizer_bridge.audio.errors import AudioError, ChannelsCancelError
from tokenizer_bridge.audio.read import Preparation, PreparedFile
from tokenizer_bridge.cleaning.activity import active_stretches, kept_samples
from tokenizer_bridge.cleaning.bounds import Activity
from tokenizer_bridge.cleaning.levels import Levels, measure_levels
from tokenizer_bridge.devices import map_in_threads
from tokenizer_bridge.sources import Failure, Track
from tokenizer_bridge.sources.stored import at_hand

SILENCE_DB = (-30.0, -35.0, -40.0, -45.0, -50.0, -60.0, -70.0)


@dataclass(frozen=True)
class DryRun:
    """seconds: of all files that can be used. dropped_s: of it, by the threshold in dB."""

    num_usable: int
    seconds: float
    dropped_s: dict[float, float]
    failures: tuple[Failure, ...]

    def share(self, threshold_db: float) -> float:
        """The share of the audio that would be dropped, of 1."""
        return self.dropped_s[threshold_db] / self.seconds if self.seconds else 0.0


def dry_run(
    tracks: Iterable[Track],
    sample_rate: int,
    preparation: Preparation,
    activity: Activity,
    on_track: Callable[[], None] = lambda: None,
    thresholds: Sequence[float] = SILENCE_DB,
) -> DryRun:
    """Reads all tracks, and encodes none.

    activity: how silence is found, but for its levels. thresholds: dB relative to a track's level.
    """

    def read(track: Track) -> Levels | Failure:
        try:
            with at_hand(track) as path:
                file = PreparedFile(path, sample_rate, preparation)
                try:
                    return measure_levels(file.blocks(), sample_rate)
                except ChannelsCancelError:
                    return measure_levels(file.blocks(), sample_rate)
        except AudioError as error:
            return Failure(track.id, track.place, str(error))

    seconds, num_usable, failures = 0.0, 0, []
    dropped_s = dict.fromkeys(thresholds, 0.0)
    for found in map_in_threads(read, tracks):
        on_track()
        if isinstance(found, Failure):
            failures.append(found)
            continue
        num_usable += 1
        seconds += found.num_samples / sample_rate
        for db in thresholds:
            silence = replace(activity, on_db=db, off_db=db)
            kept = kept_samples(active_stretches(found, sample_rate, silence), sample_rate)
            dropped_s[db] += (found.num_samples - kept) / sample_rate
    return DryRun(num_usable, seconds, dropped_s, tuple(failures))
