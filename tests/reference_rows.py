"""Common ground of both halves of the reference check: reading a file, and measuring an error."""

import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Row(NamedTuple):
    """One line of the table: the largest error of a quantity against its bound."""

    quantity: str
    error: float
    bound: float
    note: str = ""

    @property
    def ok(self) -> bool:
        return bool(self.error <= self.bound)  # a NaN is not


class BadReference(Exception):
    """A file that is not of the format; its text is one line, without the file's name."""


class Reference:
    """A reference file; asking for a quantity that it lacks raises BadReference."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            with np.load(path, allow_pickle=False) as file:
                self._arrays = {key: file[key] for key in file.files}
        except FileNotFoundError:
            raise BadReference("no such file") from None
        # np.load has no error class of its own: AttributeError is a .npy, which is no archive.
        except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise BadReference(f"not a readable .npz file ({error})") from error

    def __getitem__(self, key: str) -> np.ndarray:
        self.require([key])
        return self._arrays[key]

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def require(self, keys: Iterable[str]) -> None:
        """Raises BadReference naming every one of `keys` that the file lacks."""
        missing = [key for key in keys if key not in self._arrays]
        if missing:
            raise BadReference(f"lacks {', '.join(missing)}")

    def below(self, prefix: str) -> dict[str, np.ndarray]:
        """The arrays whose keys start with `prefix`, by the rest of their keys."""
        found = {k.removeprefix(prefix): v for k, v in self._arrays.items() if k.startswith(prefix)}
        if not found:
            raise BadReference(f"lacks {prefix}…")
        return found

    @property
    def config(self) -> dict[str, Any]:
        """The configuration: JSON as a string, or as its bytes."""
        raw = self["config"]
        try:
            return json.loads(bytes(raw) if raw.dtype == np.uint8 else str(raw))
        except ValueError as error:
            raise BadReference(f"config is not JSON ({error})") from error


def same_shape(ours: ArrayLike, theirs: np.ndarray) -> np.ndarray:
    """`ours` as float64, once it is known to have the shape of `theirs`."""
    ours = np.asarray(ours, np.float64)
    if ours.shape != theirs.shape:
        raise BadReference(f"shape {theirs.shape} where this project computes {ours.shape}")
    return ours


def absolute(ours: ArrayLike, theirs: np.ndarray) -> float:
    """The largest |ours − theirs|."""
    return float(np.abs(same_shape(ours, theirs) - theirs).max())


def relative(ours: ArrayLike, theirs: np.ndarray) -> float:
    """The largest |ours − theirs| / |theirs|."""
    return float(_ratio(np.abs(same_shape(ours, theirs) - theirs), np.abs(theirs)).max())


def of_largest(ours: ArrayLike, theirs: np.ndarray) -> float:
    """The largest |ours − theirs|, in parts of the array's largest entry."""
    return float(_ratio(absolute(ours, theirs), np.abs(theirs).max()))


def of_rows_largest(ours: ArrayLike, theirs: np.ndarray) -> float:
    """The largest |ours − theirs|, in parts of the largest entry along the last axis."""
    difference = np.abs(same_shape(ours, theirs) - theirs)
    return float(_ratio(difference, np.abs(theirs).max(-1, keepdims=True)).max())


def relative_l2(ours: ArrayLike, theirs: np.ndarray) -> float:
    """‖ours − theirs‖ / ‖theirs‖."""
    difference = np.linalg.norm(same_shape(ours, theirs) - theirs)
    return float(_ratio(difference, np.linalg.norm(theirs.astype(np.float64))))


def _ratio(error: ArrayLike, scale: ArrayLike) -> np.ndarray:
    """error / scale; no error is no error, whatever the scale."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.equal(error, 0), 0.0, np.divide(error, scale))
