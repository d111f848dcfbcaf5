"""Agreement of transcribed notes with a score, as MIR evaluations count it."""

from dataclasses import dataclass

import numpy as np

from tokenizer_bridge.notes.note_list import Notes

ONSET_TOLERANCE_S = 0.05


@dataclass(frozen=True)
class Agreement:
    """Counts of notes: found in both, in the score, and transcribed. Sums of pieces add up."""

    found: int
    in_score: int
    transcribed: int

    def __add__(self, other: "Agreement") -> "Agreement":
        return Agreement(
            self.found + other.found,
            self.in_score + other.in_score,
            self.transcribed + other.transcribed,
        )

    @property
    def precision(self) -> float:
        """The share of transcribed notes that the score has; 0 if there are none."""
        return self.found / self.transcribed if self.transcribed else 0.0

    @property
    def recall(self) -> float:
        """The share of the score's notes that were transcribed; 0 if there are none."""
        return self.found / self.in_score if self.in_score else 0.0

    @property
    def f1(self) -> float:
        total = self.in_score + self.transcribed
        return 2 * self.found / total if total else 0.0


def agree(score: Notes, transcribed: Notes, tolerance_s: float = ONSET_TOLERANCE_S) -> Agreement:
    """Notes of equal pitch whose onsets lie at most `tolerance_s` apart, each in one pair.

    Ends are not looked at. As many pairs as there can be: within a pitch, the earliest note that is
    left is paired with the earliest that it can be paired with.
    """
    found = 0
    for pitch in np.unique(score.pitch_N):
        ours_N = score.start_N[score.pitch_N == pitch]
        theirs_M = transcribed.start_N[transcribed.pitch_N == pitch]
        i = j = 0
        while i < len(ours_N) and j < len(theirs_M):
            difference = ours_N[i] - theirs_M[j]
            if abs(difference) <= tolerance_s:
                found, i, j = found + 1, i + 1, j + 1
            elif difference < 0:
                i += 1
            else:
                j += 1
    return Agreement(found, len(score), len(transcribed))
