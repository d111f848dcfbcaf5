"""Log-spectral distance of a repair to what was there.

The root mean square over frequencies of the difference of two power spectra in dB, averaged over
the frames that overlap the gap (Gray & Markel 1976, IEEE Trans. ASSP 24(5); as Moliner & Välimäki
2023, arXiv 2305.15266, measure repairs, with transforms of 2,048 samples and a hop of 512).

Letters: T samples, F frames, S samples of a frame, K frequencies.
"""

import numpy as np

FRAME, HOP = 2_048, 512
FLOOR_DB = -80.0  # below the loudest bin of the original: what lies lower counts as that


def log_spectral_distance(
    original_T: np.ndarray, repaired_T: np.ndarray, begin: int, end: int
) -> float:
    """The distance in dB over samples begin … end - 1 of two signals (T,) of one length.

    Raises ValueError when lengths differ, or no frame lies within the signals.
    """
    if original_T.shape != repaired_T.shape or len(original_T) < FRAME:
        raise ValueError(
            f"{original_T.shape} and {repaired_T.shape}: one length of {FRAME} or more"
        )
    first = max(begin - FRAME + 1, 0) // HOP * HOP
    starts = [
        s for s in range(first, min(end, len(original_T) - FRAME + 1), HOP) if s + FRAME > begin
    ]
    original_FxK, repaired_FxK = (_power(audio_T, starts) for audio_T in (original_T, repaired_T))
    floor = max(original_FxK.max(), np.finfo(np.float64).tiny) * 10 ** (FLOOR_DB / 10)
    difference_FxK = 10 * np.log10(
        np.maximum(original_FxK, floor) / np.maximum(repaired_FxK, floor)
    )
    return float(np.sqrt(np.square(difference_FxK).mean(1)).mean())


def _power(audio_T: np.ndarray, starts: list[int]) -> np.ndarray:
    window = np.hanning(FRAME + 1)[:-1]
    frames_FxS = np.stack([audio_T[start : start + FRAME] for start in starts]) * window
    return np.square(np.abs(np.fft.rfft(frames_FxS.astype(np.float64), axis=1)))
