"""Configs: what keys there are, what values make sense, and how a config is kept with a run.

A config is a nested ml_collections ConfigDict made by `get_config()` of a file in configs/ and
changed on the command line with `--config.group.key=value`.
"""

import copy
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sedd_jax.diffusion.noise import MAX_SIGMA
from sedd_jax.diffusion.sampler import SAMPLERS
from sedd_jax.errors import UserError
from sedd_jax.network.attention import IMPLEMENTATIONS
from sedd_jax.network.transformer import REMAT
from sedd_jax.parallel.mesh import AXES

SCHEMA = {
    "seed": int,
    "data": {"path": str},
    "graph": {"type": str},
    "noise": {"type": str, "sigma_min": float, "sigma_max": float},
    "model": {
        "num_blocks": int,
        "width": int,
        "num_heads": int,
        "cond_dim": int,
        "length": int,
        "dropout": float,
        "scale_by_sigma": bool,  # of the absorbing graph only: see `settled`
        "compute_dtype": str,
        "remat": str,
        "attention": str,
    },
    "optim": {
        "learning_rate": float,
        "warmup_steps": int,
        "b1": float,
        "b2": float,
        "eps": float,
        "weight_decay": float,
        "clip_norm": float,  # 0 or less: no clipping
    },
    "training": {
        "batch_size": int,  # rows a step over all devices and microbatches
        "accumulation": int,  # microbatches a step
        "num_steps": int,
        "ema_decay": float,
        "max_consecutive_skips": int,
        "log_every": int,
    },
    "conditioning": {
        "categories": tuple,  # of the tags that the model is told; (): an unconditional model
        "min_tracks": int,  # of the training split that a tag needs
        "drop_all": float,  # share of rows that training leaves without any tag
        "drop_each": float,  # share of the others' tags that it leaves out
    },
    "evaluation": {"every": int, "num_batches": int},  # every 0: never
    "checkpoint": {
        "every": int,
        "keep_last": int,
        "keep_every": int,  # 0: none kept
        "retries": int,  # of a save that failed, before the run gives up
        "retry_wait": float,  # seconds to the first of them, twice as many to each further one
    },
    "sampling": {"sampler": str, "steps": int, "batch_size": int},
    "metrics": {"peak_tflops": float},  # of a device, for MFU; 0: of a device that is known
    "profile": {"start_step": int, "num_steps": int},  # start_step -1: no trace
    "mesh": {
        "data": int,  # devices of a slice along each axis; -1: whatever are left
        "fsdp": int,
        "tensor": int,
        "dcn": {"data": int, "fsdp": int, "tensor": int},  # slices along each axis; -1 as above
    },
}

CHOICES = {
    "graph.type": ("absorbing", "uniform"),
    "noise.type": ("loglinear", "geometric"),
    "model.compute_dtype": ("auto", "float32", "bfloat16"),
    "model.remat": tuple(REMAT),
    "model.attention": IMPLEMENTATIONS,
    "sampling.sampler": SAMPLERS,
}

# key: (smallest, largest or None)
RANGES = {
    "seed": (0, 2**32 - 1),
    "noise.sigma_min": (0.0, None),
    "noise.sigma_max": (0.0, MAX_SIGMA),
    "model.num_blocks": (1, None),
    "model.width": (2, None),
    "model.num_heads": (1, None),
    "model.cond_dim": (1, None),
    "model.length": (1, None),
    "model.dropout": (0.0, 0.99),
    "optim.learning_rate": (0.0, None),
    "optim.warmup_steps": (0, None),
    "optim.b1": (0.0, 0.999999),
    "optim.b2": (0.0, 0.999999),
    "optim.eps": (0.0, None),
    "optim.weight_decay": (0.0, None),
    "training.batch_size": (1, None),
    "training.accumulation": (1, None),
    "training.num_steps": (1, None),
    "training.ema_decay": (0.0, 1.0),
    "training.max_consecutive_skips": (1, None),
    "training.log_every": (1, None),
    "conditioning.min_tracks": (1, None),
    "conditioning.drop_all": (0.0, 1.0),
    "conditioning.drop_each": (0.0, 1.0),
    "evaluation.every": (0, None),
    "evaluation.num_batches": (1, None),
    "checkpoint.every": (1, None),
    "checkpoint.keep_last": (1, None),
    "checkpoint.keep_every": (0, None),
    "checkpoint.retries": (0, None),
    "checkpoint.retry_wait": (0.0, None),
    "sampling.steps": (1, None),
    "sampling.batch_size": (1, None),
    "metrics.peak_tflops": (0.0, None),
    "profile.start_step": (-1, None),
    "profile.num_steps": (1, None),
}

# Keys that configs saved by earlier versions lack, and the value that stands for what those did.
ADDED_LATER = {
    "conditioning.categories": (),
    "conditioning.min_tracks": 10,
    "conditioning.drop_all": 0.1,
    "conditioning.drop_each": 0.1,
    "checkpoint.retries": 6,
    "checkpoint.retry_wait": 10.0,
    "metrics.peak_tflops": 0.0,
    "profile.start_step": -1,
    "profile.num_steps": 5,
    "mesh.dcn.data": -1,
    "mesh.dcn.fsdp": 1,
    "mesh.dcn.tensor": 1,
}

# A run may be resumed with other values of these: they change how long, how often and on what it
# runs, not what it computes. `data.path` may change because the data set itself is compared.
FREE_ON_RESUME = (
    "data.path",
    "model.remat",
    "model.attention",
    "training.accumulation",
    "training.num_steps",
    "training.max_consecutive_skips",
    "training.log_every",
    "evaluation.",
    "checkpoint.",
    "sampling.",
    "metrics.",
    "profile.",
    "mesh.",
)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping | ConfigDict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _check_types(config: Mapping[str, Any]) -> None:
    schema = dict(flatten(SCHEMA))
    values = dict(flatten(config))
    for key in values:
        if key not in schema:
            raise UserError(f"unknown config key {key}; sedd_jax/config.py lists the known ones")
    for key, kind in schema.items():
        if key not in values:
            raise UserError(f"the config has no {key}; configs/music_small.py has every key")
        value = values[key]
        # bool is a subclass of int, and an int is a fine float.
        good = type(value) is kind or (kind is float and type(value) is int)
        if not good:
            raise UserError(f"config.{key} must be {kind.__name__}, not {value!r}")
        if kind is float and not math.isfinite(value):
            raise UserError(f"config.{key} is {value}; a finite number is needed")


def check(config: ConfigDict) -> None:
    """Refuses unknown, missing and mistyped keys, and values that cannot work together.

    Raises UserError: one line that names the key.
    """
    _check_types(config)
    values = dict(flatten(config))
    for key, choices in CHOICES.items():
        if values[key] not in choices:
            raise UserError(f"config.{key} is {values[key]!r}; it can be {', '.join(choices)}")
    for key, (low, high) in RANGES.items():
        value = values[key]
        if not (value >= low and (high is None or value <= high)):
            bound = f"at least {low}" if high is None else f"between {low} and {high}"
            raise UserError(f"config.{key} is {value}; it must be {bound}")
        if isinstance(value, int) and value >= 2**32:  # no counter or seed holds it
            raise UserError(f"config.{key} is {value}; it must be below 2**32")

    model, training, noise = config.model, config.training, config.noise
    if model.width % model.num_heads or (model.width // model.num_heads) % 2:
        raise UserError(
            f"config.model.width {model.width} must split into config.model.num_heads "
            f"{model.num_heads} heads of even width"
        )
    if training.batch_size % training.accumulation:
        raise UserError(
            f"config.training.batch_size {training.batch_size} must be a multiple of "
            f"config.training.accumulation {training.accumulation}"
        )
    if noise.sigma_min <= 0 or noise.sigma_min >= noise.sigma_max:
        raise UserError(
            f"config.noise.sigma_min {noise.sigma_min} must be above 0 and below "
            f"config.noise.sigma_max {noise.sigma_max}"
        )
    for group, sizes in (("mesh", config.mesh), ("mesh.dcn", config.mesh.dcn)):
        sizes = {axis: sizes[axis] for axis in AXES}
        if min(sizes.values()) < -1 or 0 in sizes.values() or [*sizes.values()].count(-1) > 1:
            raise UserError(
                f"config.{group} {sizes}: sizes are at least 1, and one of them may be -1"
            )


def settled(config: ConfigDict) -> ConfigDict:
    """The config as it is computed and kept: under the uniform graph, without scale_by_sigma.

    The offset log expm1(sigma) + log(V - 1) is what the absorbing graph's ratios are like. Those of
    the uniform graph are near 1, so that a network would have to learn to undo it.
    """
    config = config.copy_and_resolve_references()
    config.model.scale_by_sigma = config.model.scale_by_sigma and config.graph.type != "uniform"
    return config


def check_saved(saved: Mapping[str, Any], workdir: str | Path) -> None:
    """Refuses a run that an earlier version trained as none is trained now. Raises UserError."""
    values = dict(flatten(saved))
    if values["graph.type"] == "uniform" and values["model.scale_by_sigma"]:
        raise UserError(
            f"{workdir} was trained by an earlier version, with the absorbing graph's "
            "model.scale_by_sigma under the uniform graph: train it anew"
        )


def check_resumable(saved: Mapping[str, Any], config: ConfigDict, workdir: str | Path) -> None:
    """Refuses to resume with a config that would compute something else.

    Raises UserError naming the first differing key and both values.
    """
    check_saved(saved, workdir)
    saved_values, values = ADDED_LATER | dict(flatten(saved)), dict(flatten(settled(config)))
    for key in {**values, **saved_values}:
        if any(key == free or key.startswith(free) and free[-1] == "." for free in FREE_ON_RESUME):
            continue
        old, new = _from_json(saved_values.get(key)), values.get(key)
        if old != new:
            raise UserError(
                f"{workdir} was trained with config.{key}={old}, not {new}: "
                "set it back or use another --workdir"
            )


def from_dict(values: Mapping[str, Any]) -> ConfigDict:
    """A checked, locked config from plain nested mappings, those that an earlier version saved too.

    Raises UserError as `check`.
    """
    values = copy.deepcopy(dict(values))
    for key, value in ADDED_LATER.items():
        *groups, name = key.split(".")
        group = values
        for part in groups:
            group = group.setdefault(part, {})
        group.setdefault(name, value)
    for group in values.values():
        if isinstance(group, dict):
            group.update({key: _from_json(value) for key, value in group.items()})
    config = ConfigDict(values)
    check(config)
    return config.lock()


def _from_json(value: Any) -> Any:
    """A value of a saved config as it was: JSON has no tuples."""
    return tuple(value) if isinstance(value, list) else value


def to_json(config: ConfigDict) -> str:
    return json.dumps(config.to_dict(), indent=2, sort_keys=False) + "\n"


def save(config: ConfigDict, path: str | Path) -> None:
    """Writes config.json, whole or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(to_json(config))
    partial.replace(path)


def load(path: str | Path) -> ConfigDict:
    """Reads a config.json that `save` wrote. Raises UserError when it is missing or unreadable."""
    try:
        values = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the config {path}: {error}") from error
    return from_dict(values)
