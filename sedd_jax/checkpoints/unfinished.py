"""The leftovers of saves that failed."""

import shutil
import time
from pathlib import Path

UNFINISHED = "*.orbax-checkpoint-tmp"  # a checkpoint's name until it is whole
CALM_S, PATIENCE_S = 0.5, 10.0  # see remove_unfinished


def remove_unfinished(directory: Path) -> None:
    """Removes what a save that failed has left.

    Of its writes, those that had begun when one failed may still make files and directories for a
    moment: it is done when nothing has come for CALM_S seconds, and gives up after PATIENCE_S.
    """
    start = last_seen = time.monotonic()
    while (now := time.monotonic()) < min(last_seen + CALM_S, start + PATIENCE_S):
        for left in directory.glob(UNFINISHED):
            shutil.rmtree(left, ignore_errors=True)
            last_seen = now
        time.sleep(CALM_S / 10)
