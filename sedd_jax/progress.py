"""The doors' progress bars."""

import sys

from tqdm import tqdm

from sedd_jax.parallel.consensus import is_first


def progress_bar(total: int, unit: str, *, done: int = 0, name: str | None = None) -> tqdm:
    """Of process 0; seldom drawn where it goes to a file. done: of an earlier life."""
    return tqdm(
        total=total,
        initial=done,
        unit=unit,
        desc=name,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else 10.0,
        disable=not is_first(),
    )
