"""A low cut: removes what lies below hearing, constant offsets and rumble.

A constant of 0.03, which nobody hears, changes half of the codes of `demo`. The local mean (a
moving average, four times) is subtracted: no phase is turned, all above stays in place.
"""

from collections.abc import Iterable, Iterator

import numpy as np

_TIMES = 4  # an even number of averages never takes more away than there is
_WIDTH = 0.57  # of an average, in periods of the cut's frequency: what has it loses 1 dB
_CHUNK = 2**16  # samples filtered at once, wherever blocks end


def low_cut(blocks: Iterable[np.ndarray], sample_rate: int, hz: float) -> Iterator[np.ndarray]:
    """A signal that arrives in (T,) blocks without what lies far below `hz`, in blocks.

    What is at `hz` loses 1 dB, an octave below 7 dB, two octaves 18 dB, a constant all. The signal
    goes on mirrored beyond its ends. The result does not depend on the blocks.
    """
    width = round(_WIDTH * sample_rate / hz) | 1  # odd, so that its middle is a sample
    reach = _TIMES * (width - 1) // 2
    held, is_first = np.zeros(0, np.float32), True
    for block in blocks:
        held = np.concatenate([held, block])
        if is_first and len(held) > reach:
            held = np.concatenate([held[reach:0:-1], held])
            is_first = False
        while not is_first and len(held) >= _CHUNK + 2 * reach:
            yield _filtered(held[: _CHUNK + 2 * reach], width, reach)
            held = held[_CHUNK:]
    if len(held):
        yield _filtered(np.pad(held, (reach * is_first, reach), "reflect"), width, reach)


def _filtered(signal_T: np.ndarray, width: int, reach: int) -> np.ndarray:
    """The signal but for `reach` samples at each end, which its neighbours need."""
    low_T = signal_T.astype(np.float64)
    for _ in range(_TIMES):
        sums = np.cumsum(np.concatenate([[0.0], low_T]))
        low_T = (sums[width:] - sums[:-width]) / width
    return (signal_T[reach : len(signal_T) - reach] - low_T).astype(np.float32)
