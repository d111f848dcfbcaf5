"""A run directory from published weights: for sampling and evaluation as after training."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from sedd_jax import config as config_lib
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.meta import Meta
from sedd_jax.errors import UserError
from sedd_jax.model import build, checkpoint_dir
from sedd_jax.state import init_state
from sedd_jax.weights import hub, torch_files
from sedd_jax.weights.published_config import PublishedConfig
from sedd_jax.weights.torch_weights import Weights
from tokenizer_bridge.token_dataset import codecs
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.token_dataset.records import TokenDataset

# Where a folder has its weights and its config: as on the hub, in AIDD's folder, after training.
WEIGHTS = ("model.safetensors", "checkpoint.pth", "checkpoints-meta/checkpoint.pth")
CONFIGS = ("config.json", "config.yaml", ".hydra/config.yaml")
# What a run needs and neither the weights' shapes nor our defaults say.
UNSEEN = ("model.num_heads", "model.length", "graph.type", "noise.type")


class Untold(UserError):
    """Keys of the config are missing that only the weights' publisher or the user can tell."""

    def __init__(self, text: str, keys: Sequence[str]):
        super().__init__(text)
        self.keys = keys


def locate(source: str | Path) -> tuple[Path, Path | None]:
    """(weights file, published config or None) of a file, a folder or `user/name` on the hub.

    The config is one of CONFIGS beside the file, or Hydra's in the folder above.
    Raises UserError when there are no weights, or they are an exported model of this project.
    """
    file = Path(source)
    if file.suffix not in torch_files.SUFFIXES and hub.is_name(source):
        file = hub.fetch(str(source), [*WEIGHTS, *CONFIGS])
    if file.is_dir():
        found = [file / name for name in WEIGHTS if (file / name).is_file()]
        if not found:
            raise UserError(f"{source} holds none of {', '.join(WEIGHTS)}")
        file = found[0]
    elif not file.exists():
        raise UserError(f"{file}: no such file or folder")
    folder = file.parent
    if (folder / "codec.json").exists():
        raise UserError(f"{folder} is an exported model, which takes the place of a run as it is")
    configs = [folder / name for name in CONFIGS] + [folder.parent / CONFIGS[-1]]
    return file, next((path for path in configs if path.is_file()), None)


def require_told(file: Path, published: PublishedConfig | None, told: Mapping[str, Any]) -> None:
    """Raises Untold where neither the published config nor `told` has a key of UNSEEN.

    file: of the weights; told: dotted key → value.
    """
    has = {**(published.values if published else {}), **told}
    if missing := [key for key in UNSEEN if key not in has]:
        names = ", ".join(missing)
        if published:
            raise Untold(f"{published.path} does not say {names}", missing)
        raise Untold(
            f"{file} has no config beside it ({', '.join(CONFIGS)}) to say {names}", missing
        )


def complete_config(
    weights: Weights,
    published: PublishedConfig | None,
    default: ConfigDict,
    told: Mapping[str, Any],
) -> tuple[ConfigDict, int]:
    """(the run's checked config, number of the network's codes).

    Sizes are the weights', the rest as told, as published, and by default, in this order.
    Raises UserError when these do not fit together.
    """
    num_blocks, cond_dim, _ = weights.params["blocks"]["adaLN"]["kernel"].shape
    vocab_size, width = weights.params["vocab_embed"]["embedding"].shape
    sizes = {"model.width": width, "model.num_blocks": num_blocks, "model.cond_dim": cond_dim}
    for key, size in sizes.items():
        if told.get(key, size) != size:
            raise UserError(f"config.{key} is {told[key]}, and the weights have {size}")
        if published and published.sizes.get(key, size) != size:
            raise UserError(
                f"{published.path} is not of these weights: its config.{key} is "
                f"{published.sizes[key]}, and they have {size}"
            )
    values = {**(published.values if published else {}), **told, **sizes}
    config = ConfigDict(default.to_dict())
    with config.ignore_type():
        config.update_from_flattened_dict(values)
    config = config_lib.settled(config_lib.from_dict(config.to_dict()))
    if config.loss.type != "score_entropy":
        raise UserError(
            f"config.loss.type is {config.loss.type}: published weights are read as scores alone, "
            "score_entropy"
        )
    num_codes = vocab_size - (config.graph.type == "absorbing")
    if published and published.num_codes not in (None, num_codes):
        raise UserError(
            f"{published.path} is not of these weights: it says tokens {published.num_codes}, "
            f"and they have {num_codes}, {config.graph.type} graph"
        )
    return config, num_codes


def find_codec(name: str | None, tokens: str | Path | None) -> dict[str, Any] | None:
    """The codec of that name, or of a dataset's tokens, or None for neither.

    Raises UserError when there is no such codec or dataset, or they do not go together.
    """
    if not tokens:
        return codecs.describe(name) if name else None
    of_tokens = TokenDataset(tokens).codec
    if name not in (None, of_tokens["name"]):
        raise UserError(f"{tokens} has tokens of the codec {of_tokens['name']}, not of {name}")
    return of_tokens


def for_codec(config: ConfigDict, num_codes: int, codec: Mapping[str, Any]) -> ConfigDict:
    """The config of a network of so many codes that speaks a codec.

    An absorbing network may lack the codec's last code: AIDD's mask has its place.
    Raises UserError when they do not fit together.
    """
    codebook_size = codec["codebook_size"]
    if num_codes == codebook_size:
        return config
    if num_codes != codebook_size - 1 or config.graph.type != "absorbing":
        raise UserError(
            f"the codec {codec['name']} has {codebook_size} codes, the weights are for {num_codes}"
        )
    config = ConfigDict(config.to_dict())
    config.graph.num_codes = num_codes
    return config_lib.from_dict(config.to_dict())


def check_output(workdir: str | Path) -> None:
    """Raises UserError unless the directory is empty or not there."""
    workdir = Path(workdir)
    if workdir.exists() and (not workdir.is_dir() or any(workdir.iterdir())):
        raise UserError(f"{workdir} exists and is not an empty folder: choose another")


def write(
    weights: Weights,
    config: ConfigDict,
    num_codes: int,
    codec: Mapping[str, Any] | None,
    workdir: str | Path,
) -> ConfigDict:
    """Writes config.json, codec.json and a checkpoint; returns the run's config.

    config, num_codes: of `complete_config`. codec: None leaves it nameless, and what is sampled
    has tokens but no audio. Raises UserError, before anything is written.
    """
    check_output(workdir)
    workdir = Path(workdir)
    codec = codec or {
        "name": "unknown",
        "weights_sha256": "",
        "sample_rate": 1,
        "hop_length": 1,
        "codebook_size": num_codes,
    }
    config = for_codec(config, num_codes, codec)
    run = build(config, codec)
    shapes = run.state_shapes()
    expected = jax.tree.map(jnp.shape, shapes.params)
    if jax.tree.map(jnp.shape, weights.params) != expected:
        raise UserError("the weights' shapes do not fit together: not those of a SEDD network")

    shardings = jax.tree.map(lambda shape: shape.sharding, shapes)
    fresh = jax.jit(functools.partial(init_state, optim=config.optim), out_shardings=shardings)
    ema_params = weights.params if weights.ema_params is None else weights.ema_params
    state = dataclasses.replace(
        fresh(jax.device_put(weights.params, shardings.params)),
        step=jax.device_put(jnp.int32(weights.step), shardings.step),
        ema_params=jax.device_put(ema_params, shardings.ema_params),
    )
    workdir.mkdir(parents=True, exist_ok=True)
    config_lib.save(config, workdir / "config.json")
    write_json_atomically(workdir / "codec.json", codec)
    with Checkpoints(checkpoint_dir(workdir)) as checkpoints:
        meta = Meta(weights.step, config.to_dict(), codec, dataset="imported weights")
        checkpoints.save(state, meta)
    return config
