"""Clean audio: silence dropped, noise lowered, loudness brought to a target, each if asked for.

In this order: activity is judged by the levels of the recording, before the gate has changed them;
the noise is measured in the recording too, pauses included; loudness comes last, so that the target
holds for what comes out. What is done is said here; `cleaning.track` does it, and needs SciPy.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tokenizer_bridge.cleaning.bounds import Activity
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.wording import in_minutes_or_hours


def check_target(lufs: float | None) -> None:
    """Raise UserError for a loudness that BS.1770 does not measure, or that none can reach."""
    if lufs is not None and not -70 < lufs <= 0:
        raise UserError(f"{lufs:g} LUFS: must be in (-70, 0]")


@dataclass(frozen=True)
class Cleaning:
    """The steps that every track goes through.

    activity: drop what is not active. noise_reduction: share of the noise to take away, in [0, 1].
    loudness_lufs: target, see `loudness.loudness_gain` for its rule about peaks.
    """

    activity: Activity | None = None
    noise_reduction: float = 0.0
    loudness_lufs: float | None = None

    def __post_init__(self):
        if not 0 <= self.noise_reduction <= 1:
            raise UserError(
                f"a noise reduction of {self.noise_reduction:g}: must be between 0 and 1"
            )
        check_target(self.loudness_lufs)

    @property
    def does_nothing(self) -> bool:
        return self == Cleaning()

    def settings(self) -> dict[str, Any]:
        """The steps and their parameters, as dataset.json keeps them."""
        return asdict(self)

    def summary(self, tracks: Iterable[tuple[float, Mapping[str, Any]]]) -> list[str]:
        """A line on each thing that was done, from the tracks' seconds and `CleanTrack.figures`."""
        tracks = list(tracks)
        total, lines = len(tracks), []
        if self.activity:
            dropped = [figures["dropped_s"] for _, figures in tracks]
            whole = sum(seconds for seconds, _ in tracks) + sum(dropped)
            lines.append(
                f"silence dropped: {in_minutes_or_hours(sum(dropped), whole)}, from "
                f"{sum(seconds > 0 for seconds in dropped)} of {total} tracks"
            )
        if self.noise_reduction:
            reduced = sum(figures["noise_db"] is not None for _, figures in tracks)
            why = "have no half second quiet enough to tell noise from music"
            lines.append(f"noise reduced in {reduced} of {total} tracks")
            lines[-1] += f"; the others {why}" if reduced < total else ""
        if self.loudness_lufs is not None:
            reached = sum(self._is_on_target(figures) for _, figures in tracks)
            why = "are silent, or stay quieter lest they clip"
            lines.append(f"{reached} of {total} tracks brought to {self.loudness_lufs:g} LUFS")
            lines[-1] += f"; the others {why}" if reached < total else ""
        return lines

    def _is_on_target(self, figures: Mapping[str, Any]) -> bool:
        lufs = figures["lufs"]
        return lufs is not None and abs(lufs + figures["gain_db"] - self.loudness_lufs) < 0.05
