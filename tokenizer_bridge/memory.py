"""The way in which this process gets memory from the system."""

import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def keep_freed_memory() -> None:
    """Let malloc reuse freed memory instead of returning it to the system; glibc only.

    By default every tensor above 32 MB is mapped afresh and cleared page by page, at each layer of
    each batch: half of the time that a CPU spends on encoding 30 s windows at full size. The
    process then keeps its peak memory until it ends.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, -1)
