"""Steady noise (hiss, hum) lowered by spectral gating, by the `noisereduce` library.

The noise's spectrum is taken from the quietest half second of the track. Where a track has none
that is quiet against the music, noise cannot be told from music, and the track stays as it is.

The library smooths its mask over 500 Hz and 50 ms by default, which suits speech. For music that is
harmful: on three excerpts of 8 s with white noise 30 and 45 dB below them, what such a gate took
from the music was 17 to 35 dB above the noise that it took away. Without smoothing and with a
threshold of 2.5 standard deviations the error in the music was −2 to +1 dB of the noise's level,
and the noise in pauses fell by 34 to 44 dB. So that is what is used here.
"""

from collections.abc import Iterable, Iterator

import noisereduce
import numpy as np

from tokenizer_bridge.cleaning.levels import FLOOR_DB, FRAME_S, Levels

PROFILE_S = 0.5
MIN_BELOW_MUSIC_DB = 30.0  # a half second less far below the track's level may be music

_FFT, _HOP = 1024, 256  # samples
_BLOCK = 1024 * _HOP  # samples gated at once: 11 s at 24 kHz
_CONTEXT = 2 * _FFT  # on either side: beyond what a frame of the gate sees


def quietest_stretch(levels: Levels) -> tuple[int, float] | None:
    """(first sample, level in dB of full scale) of the quietest PROFILE_S that holds sound.

    None if there is none MIN_BELOW_MUSIC_DB below the track's level.
    """
    count = round(PROFILE_S / FRAME_S)
    whole_F = levels.frames_F[: levels.num_samples // levels.frame]
    if len(whole_F) < count:
        return None
    power_F = np.convolve(10 ** (whole_F / 10), np.full(count, 1 / count), "valid")
    lowest_F = np.lib.stride_tricks.sliding_window_view(whole_F, count).min(axis=1)
    mean_F = np.where(lowest_F > FLOOR_DB, 10 * np.log10(power_F), np.inf)
    best = int(np.argmin(mean_F))
    if mean_F[best] > levels.track_db - MIN_BELOW_MUSIC_DB:
        return None
    return best * levels.frame, float(mean_F[best])


def read_profile(blocks: Iterable[np.ndarray], start: int, sample_rate: int) -> np.ndarray:
    """The PROFILE_S of noise at sample `start` of a track that arrives in blocks."""
    stop = start + round(PROFILE_S * sample_rate)
    pieces, first = [], 0
    for block in blocks:
        pieces.append(block[max(0, start - first) : max(0, stop - first)])
        first += len(block)
        if first >= stop:
            break
    return np.concatenate(pieces)


def gate(
    blocks: Iterable[np.ndarray], profile_T: np.ndarray, sample_rate: int, amount: float
) -> Iterator[np.ndarray]:
    """A track that arrives in (T,) blocks with its noise lowered, in blocks.

    profile_T: noise alone. amount: 1 takes away all that is below the noise's level in a bin of
    frequency and time, 0.5 half of it. The blocks overlap by enough context to equal gating the
    whole track at once.
    """

    def gated(segment_T: np.ndarray) -> np.ndarray:
        return noisereduce.reduce_noise(
            segment_T,
            sample_rate,
            stationary=True,
            y_noise=profile_T,
            prop_decrease=amount,
            n_std_thresh_stationary=2.5,
            freq_mask_smooth_hz=None,
            time_mask_smooth_ms=None,
            n_fft=_FFT,
            hop_length=_HOP,
            chunk_size=None,
            padding=0,
        )

    held = np.zeros(0, np.float32)
    context = 0  # samples at the start of `held` that are out already
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= context + _BLOCK + _CONTEXT:
            yield gated(held[: context + _BLOCK + _CONTEXT])[context : context + _BLOCK]
            held = held[context + _BLOCK - _CONTEXT :]
            context = _CONTEXT
    # The library leaves out what does not fill a frame: zeros do.
    padding = np.zeros(_CONTEXT - len(held) % _HOP, np.float32)
    yield gated(np.concatenate([held, padding]))[context : len(held)]
