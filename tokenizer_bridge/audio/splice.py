"""New audio put into a recording, with cross-fades. C channels, T samples of the recording.

What is new changes the sound beside it as well, because a codec's decoder looks around. Measured
with 40 tokens drawn anew amid others, as the power of what changes beside them against that of the
music: codec `demo-scores` -7 dB in the first 25 ms before them and -3 dB behind, -24 and -16 dB
0.3 s away; codec `demo` -4 dB in the first 13 ms, and -30 dB from 0.1 s on, wherever it is. So a
fade begins at the stretch's edge and lies outside of it, where recording and decoder play the same
music and the codec alone tells them apart; within FADE_S the new part dies away with it.

The two are alike in what they play and not in their waveforms: gains follow their correlation, so
that the power goes neither up nor down in the middle. And a codec may be too quiet: audio is
brought to the level that the recording has at its sides, in each channel.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

FADE_S = 0.3
_MAX_GAIN = 4.0  # 12 dB: beyond it what is beside the stretch says little about the stretch
_SILENCE_POWER = 1e-8  # -80 dB


@dataclass(frozen=True, eq=False)
class Patch:
    """Decoded audio for a stretch of a recording, with the music at both its sides.

    audio_S: (S,) float32 at the recording's rate, from its sample `first` on. start, stop: the
    samples that are new; `stop` may lie behind the recording's end, which then moves there.
    """

    audio_S: np.ndarray
    first: int
    start: int
    stop: int

    def part(self, start: int, stop: int) -> np.ndarray:
        """Its audio from one sample of the recording to another, (stop - start,)."""
        return self.audio_S[start - self.first : stop - self.first]


def merged(stretches: Sequence[tuple[int, int]], gap: int) -> list[tuple[int, int]]:
    """Ascending stretches (start, stop), those joined that are less than `gap` apart."""
    joined: list[tuple[int, int]] = []
    for start, stop in stretches:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = joined[-1][0], stop
        else:
            joined.append((start, stop))
    return joined


def splice(original_CxT: np.ndarray, patches: Sequence[Patch], fade: int) -> np.ndarray:
    """The recording with patches in it, (C, T') float32; T' > T where the last one goes on.

    patches: ascending, at least 2 · fade apart, each with audio for its fades. fade: samples of a
    fade, which is shorter where the recording begins or ends. Outside of patches and fades every
    sample is the recording's.
    """
    length = original_CxT.shape[1]
    total = max([length, *(patch.stop for patch in patches)])
    spliced_CxT = np.zeros((len(original_CxT), total), np.float32)
    spliced_CxT[:, :length] = original_CxT
    for patch in patches:
        start, stop = min(patch.start, length), patch.stop
        fade_in, fade_out = (max(0, start - fade), start), (stop, min(stop + fade, length))
        for original_T, spliced_T in zip(original_CxT, spliced_CxT, strict=True):
            gain = matching_gain(original_T, patch, fade)
            spliced_T[start:stop] = gain * patch.part(start, stop)
            for low, high, is_in in ((*fade_in, True), (*fade_out, False)):
                if low < high:
                    pair = original_T[low:high], gain * patch.part(low, high)
                    first, second = pair if is_in else pair[::-1]
                    spliced_T[low:high] = cross_fade(first, second)
    return spliced_CxT


def cross_fade(first_F: np.ndarray, second_F: np.ndarray) -> np.ndarray:
    """The first signal becoming the second, (F,): power stays where theirs are equal."""
    rise_F = np.sin(np.linspace(0, np.pi / 2, len(first_F) + 2, dtype=np.float32)[1:-1]) ** 2
    product = np.sqrt(float(first_F @ first_F) * float(second_F @ second_F))
    alike = max(0.0, float(first_F @ second_F) / product) if product > 0 else 1.0
    fall_F = 1 - rise_F
    power_F = fall_F**2 + rise_F**2 + 2 * alike * fall_F * rise_F
    return (fall_F * first_F + rise_F * second_F) / np.sqrt(power_F)


def matching_gain(original_T: np.ndarray, patch: Patch, fade: int) -> float:
    """The factor that brings a patch to the recording's level at its sides, beyond the fades.

    1 where there are no sides, or only silence.
    """
    end = min(patch.first + len(patch.audio_S), len(original_T))
    sides = [(patch.first, patch.start - fade), (patch.stop + fade, end)]
    sides = [(low, high) for low, high in sides if low < high]
    if not sides:
        return 1.0
    count = sum(high - low for low, high in sides)
    wanted = sum(float(np.square(original_T[low:high]).sum()) for low, high in sides) / count
    found = sum(float(np.square(patch.part(low, high)).sum()) for low, high in sides) / count
    if min(wanted, found) < _SILENCE_POWER:
        return 1.0
    return float(np.clip(np.sqrt(wanted / found), 1 / _MAX_GAIN, _MAX_GAIN))
