"""The commands' progress bars, and lines of text that do not disturb them."""

import sys

from tqdm import tqdm

from sedd_jax.parallel.consensus import is_first


def progress_bar(total: int, unit: str, *, done: int = 0, name: str | None = None) -> tqdm:
    """A progress bar shown by process 0 only; it refreshes every 10 s when stderr is no terminal.

    done: how much of `total` an earlier life of the job has done.
    """
    return tqdm(
        total=total,
        initial=done,
        unit=unit,
        desc=name,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
        disable=not is_first(),
    )


def say(text: str) -> None:
    """Prints a line on stdout, once for all processes, above a progress bar that is shown."""
    if is_first():
        tqdm.write(text)
        sys.stdout.flush()
