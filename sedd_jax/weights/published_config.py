"""The config beside published weights, as far as it matters here.

SEDD's and its descendants' are trees of `model`, `graph`, `noise`, `training` and `tokens`, in YAML
(Hydra's) or JSON (the hub's).
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from ml_collections import ConfigDict

from sedd_jax import config as config_lib
from sedd_jax.errors import UserError, one_line

GRAPHS = {"absorb": "absorbing", "uniform": "uniform"}
# published key → ours, of what the weights do not show
KEYS = {
    "model.n_heads": "model.num_heads",
    "model.length": "model.length",
    "model.dropout": "model.dropout",
    "model.scale_by_sigma": "model.scale_by_sigma",
    "graph.type": "graph.type",
    "noise.type": "noise.type",
    "noise.sigma_min": "noise.sigma_min",
    "noise.sigma_max": "noise.sigma_max",
}
# and of what they show
SIZES = {
    "model.hidden_size": "model.width",
    "model.n_blocks": "model.num_blocks",
    "model.cond_dim": "model.cond_dim",
    "training.ema": "training.ema_decay",
}
# AIDD (arXiv 2507.08333) publishes its config without the length. Both sizes of its program's
# configs, small and medium, have this one: 4 s of music at 75 tokens a second.
AIDD_KEY, AIDD_LENGTH = "training.p_base", 300


@dataclasses.dataclass(frozen=True)
class PublishedConfig:
    """A published config.

    path: its file; values: our dotted keys → values; num_codes: the codes of its network, where it
    says how many; length_is_aidds: whether the length is not in the file but AIDD's; sizes: our
    dotted keys → sizes of the network, which its weights must have.
    """

    path: Path
    values: Mapping[str, Any]
    num_codes: int | None
    length_is_aidds: bool = False
    sizes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def read(path: Path) -> PublishedConfig:
    """Reads a JSON or YAML file. Raises UserError naming it, and the key if one is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
        return from_tree(path, json.loads(text) if path.suffix == ".json" else yaml.safe_load(text))
    except UserError:
        raise
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error, limit=150)}") from error


def from_tree(path: Path, tree: Mapping[str, Any]) -> PublishedConfig:
    """The config that a file holds.

    Raises UserError naming the file and a key; ValueError or the like for what is no config.
    """
    if not isinstance(tree, Mapping):
        raise UserError(f"{path} cannot be read: it holds no keys with values")
    published = dict(config_lib.flatten(tree))
    values = {ours: published[key] for key, ours in KEYS.items() if key in published}
    for key in ("noise.sigma_min", "noise.sigma_max"):
        if key in values:  # YAML 1.1 reads 1e-4 as text
            values[key] = float(values[key])
    if "graph.type" in values:
        graph = values["graph.type"]
        if graph not in GRAPHS:
            raise UserError(f"{path}: graph.type is {graph!r}; it can be {', '.join(GRAPHS)}")
        values["graph.type"] = GRAPHS[graph]
    is_aidds = AIDD_KEY in published and "model.length" not in values
    if is_aidds:
        values["model.length"] = AIDD_LENGTH
    sizes = {
        ours: published[key]
        for key, ours in SIZES.items()
        if key in published and ours.startswith("model.")
    }
    return PublishedConfig(path, values, published.get("tokens"), is_aidds, sizes)


def to_yaml(config: ConfigDict, num_codes: int) -> str:
    """The text of config.yaml, with which the published program builds the network of a run."""
    ours = dict(config_lib.flatten(config))
    published = {key: ours[own] for key, own in (KEYS | SIZES).items()}
    graph = ours["graph.type"]
    published["graph.type"] = next(name for name, own in GRAPHS.items() if own == graph)
    return yaml.safe_dump(config_lib.nest({"tokens": num_codes, **published}), sort_keys=False)
