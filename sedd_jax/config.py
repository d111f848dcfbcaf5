"""Configs: what makes one whole and possible, and how a config is kept with a run.

A config is a nested ml_collections ConfigDict made by `get_config()` of a file in configs/ and
changed on the command line with `--config.group.key=value`. sedd_jax/config_keys.py has its keys.
"""

import copy
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from sedd_jax.config_key import MAX_INTEGER
from sedd_jax.config_keys import KEYS
from sedd_jax.diffusion.choices import NEED_MASKS, PARAMETRISATIONS, check_sigmas
from sedd_jax.errors import UserError
from sedd_jax.network.choices import AUTOREGRESSIVE, check_heads
from sedd_jax.parallel.axes import AXES
from tokenizer_bridge.token_dataset.files import atomic_file

HISTORY = "history"  # beside the keys of a config.json


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf."""
    for key, value in tree.items():
        if isinstance(value, Mapping | ConfigDict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """The nested form of {dotted key: value}."""
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *groups, name = key.split(".")
        group = tree
        for part in groups:
            group = group.setdefault(part, {})
        group[name] = value
    return tree


def check(config: ConfigDict) -> None:
    """Refuses unknown, missing and mistyped keys, and values that cannot work together.

    Raises UserError: one line that names the key.
    """
    values = dict(flatten(config))
    for key in values:
        if key not in KEYS:
            raise UserError(f"unknown config key {key}")
    for key, known in KEYS.items():
        if key not in values:
            raise UserError(f"the config has no {key}; configs/music_small.py has every key")
        if fault := known.fault(values[key]):
            raise UserError(f"config.{key} is {values[key]!r}; it {fault}")
    _check_together(config)


def _check_together(config: ConfigDict) -> None:
    """Checks what spans several keys."""
    model, training, noise = config.model, config.training, config.noise
    try:
        check_heads(model.width, model.num_heads)
        check_sigmas(noise.sigma_min, noise.sigma_max)
    except ValueError as error:
        raise UserError(f"config: {error}") from error
    if config.graph.num_codes and config.graph.type != "absorbing":
        raise UserError(
            f"config.graph.num_codes is {config.graph.num_codes}: without a mask, which the "
            f"{config.graph.type} graph has not, codes cannot be unknown"
        )
    if training.span_masks and config.graph.type != "absorbing":
        raise UserError(
            f"config.training.span_masks is {training.span_masks}: the {config.graph.type} graph "
            "has no masks"
        )
    if config.distill.steps:
        _check_distillation(config)
    if model.type == AUTOREGRESSIVE:
        _check_autoregressive(config)
    elif config.graph.type != "absorbing" and config.sampling.sampler in NEED_MASKS:
        raise UserError(
            f"config.sampling.sampler is {config.sampling.sampler}: it draws masked positions, and "
            f"the {config.graph.type} graph has no masks"
        )
    if training.batch_size % training.accumulation:
        raise UserError(
            f"config.training.batch_size {training.batch_size} must be a multiple of "
            f"config.training.accumulation {training.accumulation}"
        )
    loss = config.loss
    if config.graph.type not in (graphs := PARAMETRISATIONS[loss.type]):
        raise UserError(
            f"config.loss.type is {loss.type}: it is for the {graphs[0]} graph, not the "
            f"{config.graph.type} one"
        )
    if loss.times == "masked_share" and config.graph.type != "absorbing":
        raise UserError(
            f"config.loss.times is masked_share, and the {config.graph.type} graph has no masks"
        )
    if loss.times == "masked_share" and noise.type == "loglinear":
        raise UserError(
            "config.loss.times is masked_share: under loglinear noise uniform times are the same"
        )
    share = training.high_noise_share
    if share and not round(share * training.batch_size):
        raise UserError(
            f"config.training.high_noise_share {share} of config.training.batch_size "
            f"{training.batch_size} is no row"
        )
    for group, sizes in (("mesh", config.mesh), ("mesh.dcn", config.mesh.dcn)):
        sizes = {axis: sizes[axis] for axis in AXES}
        if 0 in sizes.values() or [*sizes.values()].count(-1) > 1:
            raise UserError(
                f"config.{group} {sizes}: sizes are at least 1, and one of them may be -1"
            )


def _check_autoregressive(config: ConfigDict) -> None:
    """Refuses what makes no sense of a model that has no noise. Raises UserError."""
    if config.graph.type != "absorbing":
        raise UserError(
            f"config.graph.type is {config.graph.type}: an autoregressive model begins its "
            "sequences with the mask, which only the absorbing graph has"
        )
    for key, off in (
        ("loss.type", "score_entropy"),
        ("loss.times", "uniform"),
        ("training.span_masks", 0),
        ("training.high_noise_share", 0),
    ):
        group, name = key.split(".")
        if config[group][name] != off:
            raise UserError(
                f"config.{key} is {config[group][name]}: it is of diffusion models, and "
                f"config.model.type is {AUTOREGRESSIVE}"
            )


def _check_distillation(config: ConfigDict) -> None:
    """Refuses what a student cannot learn by. Raises UserError."""
    for key, needed in (
        ("graph.type", "absorbing"),
        ("model.type", "diffusion"),
        ("training.span_masks", 0),
        ("loss.times", "uniform"),
    ):
        group, name = key.split(".")
        if config[group][name] != needed:
            raise UserError(
                f"config.{key} is {config[group][name]}: config.distill.steps "
                f"{config.distill.steps} needs {needed}"
            )


def settled(config: ConfigDict) -> ConfigDict:
    """The config as it is computed and kept: scale_by_sigma for score entropy with masks alone.

    The offset log expm1(sigma) + log(V - 1) is what the absorbing graph's ratios are like. Those of
    the uniform graph are near 1, so that a network would have to learn to undo it; where the output
    is no score, or there is no sigma, it is of no use.
    """
    config = config.copy_and_resolve_references()
    has_use = (
        config.graph.type == "absorbing"
        and config.loss.type == "score_entropy"
        and config.model.type != AUTOREGRESSIVE
    )
    config.model.scale_by_sigma = config.model.scale_by_sigma and has_use
    return config


def check_saved(saved: Mapping[str, Any], workdir: str | Path) -> None:
    """Refuses a run that an earlier version trained as none is trained now. Raises UserError."""
    values = dict(flatten(saved))
    if values["graph.type"] == "uniform" and values["model.scale_by_sigma"]:
        raise UserError(
            f"{workdir} was trained by an earlier version, with the absorbing graph's "
            "model.scale_by_sigma under the uniform graph: train it anew"
        )


class OtherRun(UserError):
    """A resumed run that would compute something else than it did.

    keys: those that it could go on with if their change were allowed; (): none.
    """

    def __init__(self, text: str, keys: Sequence[str] = ()):
        super().__init__(text)
        self.keys = tuple(keys)


def check_resumable(
    saved: Mapping[str, Any],
    config: ConfigDict,
    workdir: str | Path,
    allow_change: Collection[str] = (),
) -> dict[str, tuple[Any, Any]]:
    """Refuses to resume with a config that would compute something else.

    allow_change: keys that may differ all the same. Returns those of them that do, with both
    values. Raises OtherRun naming the first other one and both values.
    """
    check_saved(saved, workdir)
    saved_values, values = _completed(dict(flatten(saved))), dict(flatten(settled(config)))
    differing = {
        key: (saved_values.get(key), values.get(key))
        for key in {**values, **saved_values}
        if saved_values.get(key) != values.get(key) and not (key in KEYS and KEYS[key].resumable)
    }
    fixed = [key for key in differing if key not in KEYS or KEYS[key].fixed]
    refused = fixed or [key for key in differing if key not in allow_change]
    if refused:
        old, new = differing[refused[0]]
        text = f"{workdir} was trained with config.{refused[0]}={old}, not {new}: set it back or "
        raise OtherRun(f"{text}train in another directory", () if fixed else refused)
    return differing


def _completed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat values as they were, JSON having no tuples, with keys that earlier versions lacked."""
    older = {key: known.default_of_older_runs for key, known in KEYS.items()}
    return {key: value for key, value in older.items() if value is not None} | {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }


def from_dict(values: Mapping[str, Any]) -> ConfigDict:
    """A checked, locked config from plain nested mappings, those that an earlier version saved too.

    Raises UserError as `check`.
    """
    config = ConfigDict(nest(_completed(dict(flatten(copy.deepcopy(dict(values)))))))
    check(config)
    return config.lock()


def to_json(config: ConfigDict) -> str:
    return json.dumps(config.to_dict(), indent=2, sort_keys=False) + "\n"


def save(config: ConfigDict, path: str | Path, history: Sequence[Mapping[str, Any]] = ()) -> None:
    """Writes config.json, whole or not at all.

    history: what was changed when the run was resumed, as checkpoints have it.
    """
    values = config.to_dict() | ({HISTORY: list(history)} if history else {})
    with atomic_file(Path(path)) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n")


def load(path: str | Path) -> ConfigDict:
    """Reads a config.json that `save` wrote. Raises UserError naming it when it is none."""
    try:
        values = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read the config {path}: {error}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no config of a run: a JSON object is one")
    values.pop(HISTORY, None)
    try:
        return from_dict(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def as_text(value: Any) -> str:
    """A value as it is given on the command line."""
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe(config: ConfigDict) -> str:
    """Every key with its value, and what it is and can be, for people: two lines a key."""
    values, lines = dict(flatten(config)), []
    for key, known in KEYS.items():
        limits = f"one of {', '.join(known.choices)}" if known.choices else known.bounds
        kind = f"{known.type.__name__}, {limits}" if limits else known.type.__name__
        lines += [f"config.{key}={as_text(values[key])}", f"    {known.doc} [{kind}]"]
    return "\n".join(lines)


def introduce(source: str, overrides: Mapping[str, Any]) -> str:
    """Lines for people on the config of a run that starts.

    source: its name as the user gave it, "" for the run's own; overrides: key → value, changed.
    """
    name = f"config {source}" if source else "config as it was saved"
    lines = [f"    config.{key}={as_text(value)}" for key, value in overrides.items()]
    head = f"{name}, whole in the run's config.json"
    return "\n".join([f"{head}, with" if lines else head, *lines, ""])


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of the config.json that a run saves."""
    names = {bool: "boolean", int: "integer", float: "number", str: "string", tuple: "array"}
    leaves = {}
    for key, known in KEYS.items():
        leaf: dict[str, Any] = {"type": names[known.type], "description": known.doc}
        if known.type is tuple:
            leaf["items"] = {"type": "string"}
        if known.choices:
            (leaf["items"] if known.type is tuple else leaf)["enum"] = list(known.choices)
        if known.low is not None:
            leaf["minimum"] = known.low
        if known.high is not None or known.type is int:
            leaf["maximum"] = MAX_INTEGER if known.high is None else known.high
        leaves[key] = leaf

    def objects(tree: Mapping[str, Any]) -> dict[str, Any]:
        if isinstance(tree.get("description"), str):  # a leaf
            return dict(tree)
        return {
            "type": "object",
            "properties": {name: objects(part) for name, part in tree.items()},
            "required": list(tree),
            "additionalProperties": False,
        }

    schema = objects(nest(leaves))
    schema["properties"][HISTORY] = {
        "type": "array",
        "description": "Changes at resume: step, and the keys changed with both values.",
        "items": {"type": "object"},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
