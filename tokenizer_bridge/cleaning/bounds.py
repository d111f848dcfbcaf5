"""The bounds of activity: what a user can set of it, known without NumPy."""

from dataclasses import dataclass

from tokenizer_bridge.token_dataset.errors import UserError

FADE_S = 0.01  # of joins; far shorter than the padding, in which they lie


@dataclass(frozen=True)
class Activity:
    """The bounds of what counts as active.

    on_db, off_db: relative to the track's level (`Levels.track_db`): a stretch of frames above
    off_db is active if one of them is above on_db. So fades in and out belong to the music that
    they lead to, and noise between the thresholds does not. Nothing below −80 dB of full scale is
    ever active. min_silent_s: shorter silences are rests, and stay. min_active_s: shorter activity
    is a click, and goes. padding_s: kept around every active stretch.
    """

    on_db: float = -50.0
    off_db: float = -60.0
    min_active_s: float = 0.25
    min_silent_s: float = 2.0
    padding_s: float = 0.2

    def __post_init__(self):
        if not self.off_db <= self.on_db < 0:
            raise UserError(
                f"music begins above {self.on_db:g} dB and ends below {self.off_db:g} dB: both "
                "must be below 0, the level of the track, and off not above on"
            )
        if self.padding_s < FADE_S or self.min_active_s < 0:
            raise UserError(
                f"a padding of {self.padding_s:g} s and music of at least {self.min_active_s:g} s: "
                f"must be at least {FADE_S} (the fade of a join) and 0"
            )
        if self.min_silent_s <= 2 * self.padding_s:
            raise UserError(
                f"silence of at least {self.min_silent_s:g} s: must be longer than the padding on "
                f"both sides, 2 x {self.padding_s:g} s"
            )
