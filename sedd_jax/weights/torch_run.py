"""A run directory from published weights: for sampling and evaluation as after training."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import yaml
from ml_collections import ConfigDict

from sedd_jax import config as config_lib
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.meta import Meta
from sedd_jax.errors import UserError, one_line
from sedd_jax.model import build, checkpoint_dir
from sedd_jax.weights.torch_weights import Weights
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.token_dataset.records import TokenDataset

GRAPHS = {"absorb": "absorbing", "uniform": "uniform"}
# published key → ours, of what the weights do not show
CONFIG_KEYS = {
    "model.n_heads": "model.num_heads",
    "model.length": "model.length",
    "model.dropout": "model.dropout",
    "model.scale_by_sigma": "model.scale_by_sigma",
    "graph.type": "graph.type",
    "noise.type": "noise.type",
    "noise.sigma_min": "noise.sigma_min",
    "noise.sigma_max": "noise.sigma_max",
}


def locate(source: str | Path) -> tuple[Path, Path | None]:
    """(weights file, published config or None) of a file or a folder.

    The config is config.json beside the file, or .hydra/config.yaml beside it or its folder.
    Raises UserError when a folder holds no weights.
    """
    file = Path(source)
    if file.is_dir():
        found = [file / name for name in ("model.safetensors", "checkpoints-meta/checkpoint.pth")]
        found = [path for path in found if path.is_file()]
        if not found:
            raise UserError(f"{file} holds neither model.safetensors nor checkpoints-meta/")
        file = found[0]
    folder = file.parent
    hydra = Path(".hydra") / "config.yaml"
    configs = (folder / "config.json", folder / hydra, folder.parent / hydra)
    return file, next((path for path in configs if path.is_file()), None)


def read_published_config(path: Path) -> dict[str, Any]:
    """Our dotted keys → values. Raises UserError naming the file, and the key if one is wrong."""
    try:
        text = path.read_text()
        tree = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
        published = dict(config_lib.flatten(tree))
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error, limit=150)}") from error
    values = {ours: published[key] for key, ours in CONFIG_KEYS.items() if key in published}
    if "graph.type" in values:
        graph = values["graph.type"]
        if graph not in GRAPHS:
            raise UserError(f"{path}: graph.type is {graph!r}; it can be {', '.join(GRAPHS)}")
        values["graph.type"] = GRAPHS[graph]
    for key in ("noise.sigma_min", "noise.sigma_max"):
        if key in values:  # YAML 1.1 reads 1e-4 as text
            values[key] = float(values[key])
    return values


def _complete_config(
    weights: Weights, published: Mapping[str, Any], config: ConfigDict, data_path: str
) -> tuple[ConfigDict, int]:
    """(the run's checked config, number of codes): sizes from the weights, the rest as told."""
    blocks = weights.params["blocks"]
    num_blocks, cond_dim, _ = blocks["adaLN"]["kernel"].shape
    vocab_size, width = weights.params["vocab_embed"]["embedding"].shape
    sizes = {"model.width": width, "model.num_blocks": num_blocks, "model.cond_dim": cond_dim}
    config = ConfigDict(config.to_dict())
    config.update_from_flattened_dict({**sizes, **published, "data.path": data_path})
    config = config_lib.from_dict(config.to_dict())
    return config, vocab_size - (config.graph.type == "absorbing")


def write(
    weights: Weights,
    published_config: Path | None,
    config: ConfigDict,
    tokens: str | None,
    workdir: str | Path,
) -> ConfigDict:
    """Writes config.json, codec.json and a checkpoint; returns the run's config.

    tokens: path of a dataset of the model's codec; None: the codec stays nameless, and what is
    sampled has tokens but no audio. Raises UserError, before anything is written.
    """
    workdir = Path(workdir)
    if checkpoint_dir(workdir).exists():
        raise UserError(f"{workdir} holds a run already: choose another directory")
    published = read_published_config(published_config) if published_config else {}
    config, num_codes = _complete_config(weights, published, config, tokens or "")
    config = config_lib.settled(config)
    codec: Mapping[str, Any] = {
        "name": "unknown",
        "weights_sha256": "",
        "sample_rate": 1,
        "hop_length": 1,
        "codebook_size": num_codes,
    }
    if tokens:
        codec = TokenDataset(tokens).codec
        if codec["codebook_size"] != num_codes:
            raise UserError(
                f"{tokens} has {codec['codebook_size']} codes, the weights are for {num_codes}"
            )
    run = build(config, codec)
    shapes = run.state_shapes()
    expected = jax.tree.map(jnp.shape, shapes.params)
    if jax.tree.map(jnp.shape, weights.params) != expected:
        raise UserError("the weights' shapes do not fit together: not those of a SEDD network")

    ema_params = weights.params if weights.ema_params is None else weights.ema_params
    state = dataclasses.replace(
        run.fresh_state(),
        step=jax.device_put(jnp.int32(weights.step), shapes.step.sharding),
        params=jax.device_put(weights.params, jax.tree.map(lambda s: s.sharding, shapes.params)),
        ema_params=jax.device_put(ema_params, jax.tree.map(lambda s: s.sharding, shapes.params)),
    )
    workdir.mkdir(parents=True, exist_ok=True)
    config_lib.save(config, workdir / "config.json")
    write_json_atomically(workdir / "codec.json", codec)
    with Checkpoints(checkpoint_dir(workdir)) as checkpoints:
        meta = Meta(weights.step, config.to_dict(), codec, dataset="imported weights")
        checkpoints.save(state, meta)
    return config
