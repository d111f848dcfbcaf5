"""The units that are drawn to estimate distances: artists with their files, or files alone.

Files of one artist are alike, and a set of few artists tells little of music by others. So a set is
a sequence of *units*, each the sequence of the files of one artist, and units are what is drawn. A
file whose artist is unknown, as all generated ones, is a unit of its own. A file is (W, D) float
with its W windows (any number, at least one).

F files, G units.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import stdtrit

Unit = Sequence[np.ndarray]


def by_artist(files: Sequence[np.ndarray], artists: Sequence[str | None]) -> list[Unit]:
    """Units in the order of their first files."""
    units: dict[object, list[np.ndarray]] = {}
    for i, (file_WxD, artist) in enumerate(zip(files, artists, strict=True)):
        units.setdefault(i if artist is None else artist, []).append(file_WxD)
    return list(units.values())


def alone(files: Sequence[np.ndarray]) -> list[Unit]:
    """Every file a unit of its own."""
    return [[file_WxD] for file_WxD in files]


def files_of(units: Sequence[Unit]) -> list[np.ndarray]:
    """All files, unit by unit."""
    return [file_WxD for unit in units for file_WxD in unit]


def equal_units(units: Sequence[Unit]) -> float:
    """The number of equal units worth as much: (Σ n)² / Σ n² of their n files each (Kish 1965)."""
    sizes_G = np.array([len(unit) for unit in units], np.float64)
    return float(sizes_G.sum() ** 2 / np.square(sizes_G).sum())


def effective_files(units: Sequence[Unit]) -> int:
    """The number of independent files that would tell as much of the mean as these do.

    Files divided by the design effect (Kish 1965), which is the variance of the mean of file means
    with errors that units share (Liang & Zeger 1986, times G/(G − 1)) over that of independent
    files, both summed over dimensions; from the number of units to that of files.
    """
    num_files, num_units = len(files_of(units)), len(units)
    if num_units in (1, num_files):
        return num_units
    first_D = units[0][0].mean(0)  # taken off, so that files that are all the same have no errors
    means_by_unit = [np.stack([file.mean(0) - first_D for file in unit]) for unit in units]
    mean_D = np.concatenate(means_by_unit).mean(0)
    errors_by_unit = [means_FxD - mean_D for means_FxD in means_by_unit]
    independent = sum(np.square(errors_FxD).sum() for errors_FxD in errors_by_unit)
    independent *= num_files / (num_files - 1)
    clustered = sum(np.square(errors_FxD.sum(0)).sum() for errors_FxD in errors_by_unit)
    clustered *= num_units / (num_units - 1)
    if clustered <= independent:
        return num_files
    return max(num_units, round(num_files * independent / clustered))


def student(x: Sequence[Unit], y: Sequence[Unit]) -> float:
    """The 97.5% point of Student's t for an interval from random halves of both.

    Artists may be few: one degree less than their number, on the side with fewer. Files alone are
    at least 16, and count as many.
    """
    degrees = [len(units) - 1 for units in (x, y) if len(units) < len(files_of(units))]
    return float(stdtrit(min(degrees, default=np.inf), 0.975))


def subsets(
    units: Sequence[Unit], size: int, count: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """The vectors of `count` random subsets of `size` files, each without replacement.

    Units lie one after the other in random order, their files shuffled, and are cut into subsets:
    no more than the two at a subset's ends are in part. As many subsets as fit are disjoint before
    a file comes again.
    """
    num_files = sum(map(len, units))
    fit = num_files // size
    for i in range(count):
        if i % fit == 0:
            laid = [file for j in rng.permutation(len(units)) for file in _shuffled(units[j], rng)]
        yield np.concatenate(laid[i % fit * size :][:size])


def halves(units: Sequence[Unit], count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The vectors of `count` random halves, of whole units each; every second is the other half."""
    size = len(units) // 2
    for i in range(count):
        if i % 2 == 0:
            order = rng.permutation(len(units))
        chosen = order[i % 2 * size :][:size]
        yield np.concatenate(files_of([units[j] for j in chosen]))


def _shuffled(unit: Unit, rng: np.random.Generator) -> Unit:
    return unit if len(unit) == 1 else [unit[i] for i in rng.permutation(len(unit))]
