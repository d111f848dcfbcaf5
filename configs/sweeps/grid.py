"""Building blocks of a `sweep()`: products and zips of overrides, and a base by name.

An override is a dict of dotted config keys, {"optim.learning_rate": 1e-3}: one run of a sweep.
"""

import importlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from sedd_jax.errors import UserError

Overrides = dict[str, Any]


def product(
    *parts: Mapping[str, Sequence[Any]] | Iterable[Overrides], **values: Sequence[Any]
) -> Iterator[Overrides]:
    """Every combination, the last part changing fastest.

    Args:
      parts: mappings of a key to its values, as {"optim.learning_rate": [1e-4, 1e-3]}, each key a
        dimension of its own; or overrides that go together, as `zip_` yields them.
      values: the same for keys without a dot, as seed=range(3).

    Raises ValueError when two parts set the same key.
    """
    dimensions: list[list[Overrides]] = []
    for part in (*parts, values):
        if isinstance(part, Mapping):
            dimensions += [[{key: v} for v in key_values] for key, key_values in part.items()]
        else:
            dimensions.append(list(part))
    for combination in itertools.product(*dimensions):
        yield _merged(combination)


def zip_(part: Mapping[str, Sequence[Any]] | None = None, **values: Sequence[Any]):
    """Overrides of the first values of all keys, of the second values, and so on.

    Arguments as of `product`. Raises ValueError for keys with different numbers of values.
    """
    columns = {**(part or {}), **values}
    for row in zip(*columns.values(), strict=True):
        yield dict(zip(columns, row, strict=True))


def _merged(parts: Iterable[Overrides]) -> Overrides:
    merged: Overrides = {}
    for part in parts:
        if twice := merged.keys() & part.keys():
            raise ValueError(f"two parts of a product set {min(twice)}")
        merged |= part
    return merged


def base_config(name: str) -> ConfigDict:
    """The config of configs/NAME.py. Raises UserError when there is none."""
    try:
        return importlib.import_module(f"configs.{name}").get_config()
    except ModuleNotFoundError as error:
        raise UserError(f"there is no configs/{name}.py to base the sweep on") from error
