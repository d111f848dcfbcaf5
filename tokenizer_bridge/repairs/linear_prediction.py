"""Gaps filled in by linear prediction from both sides, the baseline that needs no training.

Each side is continued into the gap as an autoregressive process fitted to it, and the two are faded
into each other (Etter 1996, IEEE Trans. Signal Processing 44(5); Kauppinen & Roth 2002, DAFx).

Letters: T samples, C samples of a context, G samples of the gap.
"""

import numpy as np
import scipy.linalg
import scipy.signal

CONTEXT_S = 0.5  # seconds on each side that the process is fitted to
ORDER = 1_000  # coefficients at most; a third of the context where that is less


def fill_gap(audio_T: np.ndarray, begin: int, end: int, sample_rate: int) -> np.ndarray:
    """The audio (T,) float32 with samples begin … end - 1 predicted from both sides.

    A side without a sample predicts nothing: then the gap is the other side's. Raises ValueError
    for a gap that is empty, or all of the audio.
    """
    if not 0 <= begin < end <= len(audio_T) or end - begin == len(audio_T):
        raise ValueError(f"a gap from {begin} to {end} in {len(audio_T)} samples")
    context = round(CONTEXT_S * sample_rate)
    before_C = audio_T[max(begin - context, 0) : begin]
    behind_C = audio_T[end : end + context]
    fade_G = np.sin(np.pi / 2 * (np.arange(end - begin) + 0.5) / (end - begin)) ** 2
    if not len(before_C):
        fade_G = np.ones_like(fade_G)
    if not len(behind_C):
        fade_G = np.zeros_like(fade_G)
    filled_T = audio_T.copy()
    forward_G = extrapolate(before_C, end - begin)
    backward_G = extrapolate(behind_C[::-1], end - begin)[::-1]
    filled_T[begin:end] = (1 - fade_G) * forward_G + fade_G * backward_G
    return filled_T


def extrapolate(context_C: np.ndarray, num: int) -> np.ndarray:
    """The `num` samples that the autoregressive process of a context goes on with, float64.

    The fit is by the autocorrelation method, whose process is stable: it dies away. Of silence, and
    of contexts too short for a coefficient, it is silence.
    """
    order = min(ORDER, len(context_C) // 3)
    context_C = np.asarray(context_C, np.float64)
    if order == 0 or not context_C.any():
        return np.zeros(num)
    correlation = scipy.signal.correlate(context_C, context_C, method="fft")[len(context_C) - 1 :]
    # A little white noise, 90 dB below, keeps the equations well-conditioned.
    correlation[0] *= 1 + 1e-9
    taps = scipy.linalg.solve_toeplitz(correlation[:order], correlation[1 : order + 1])
    denominator = np.concatenate([[1.0], -taps])
    state = scipy.signal.lfiltic([1.0], denominator, context_C[: -order - 1 : -1])
    return scipy.signal.lfilter([1.0], denominator, np.zeros(num), zi=state)[0]
