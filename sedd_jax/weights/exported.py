"""Exported models: a folder with weights under the published names, and all that they need.

    model.safetensors   the EMA weights, names and shapes of the published PyTorch network
                        (sedd_jax/weights/torch_weights.py), fp32 or fp16; `condition.*` beside them
                        where the model knows tags or vectors
    config.json         the run's config
    config.yaml         the same for the published program, which knows score_entropy and no tags,
                        and is no autoregressive one
    codec.json          dataset.json's "codec": whose tokens these are
    tags.json           the vocabulary of its tags and vectors, where it has one
    README.md           the model card

An unconditional one of score_entropy is what the published program loads: model.safetensors, but
for the buffer rotary_emb.inv_freq, into the network that config.yaml makes. The metadata of the
safetensors file holds the step.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict
from safetensors import safe_open
from safetensors.numpy import save_file

from sedd_jax import config as config_lib
from sedd_jax.conditions import UNCONDITIONAL, Vocabulary
from sedd_jax.errors import UserError, one_line
from sedd_jax.model import ModelDef, build, load_run
from sedd_jax.network.choices import AUTOREGRESSIVE
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.remote_run import local_run
from sedd_jax.state import Params
from sedd_jax.weights import hub, published_config, torch_files, torch_weights
from tokenizer_bridge.token_dataset.description import check_codec

WEIGHTS, CONFIG, CODEC, TAGS, CARD = (
    "model.safetensors", "config.json", "codec.json", "tags.json", "README.md",
)  # fmt: skip
PUBLISHED_CONFIG = "config.yaml"
FILES = (WEIGHTS, CONFIG, CODEC, TAGS, CARD)
DEMO = "demo"
DEMO_FOLDER = Path(__file__).parents[1] / "assets" / "demo"
TAG_TABLE = "condition.tags.embedding"  # (T, C), rows in the order of the tags' names
CONDITION = "condition."
VECTOR_MAP = "condition.vectors.{}.kernel"  # (W + 1, C) of a kind, the last row its bias


@dataclasses.dataclass(frozen=True)
class Exported:
    """The content of an exported folder; params are NumPy arrays."""

    config: ConfigDict
    codec: Mapping[str, Any]
    vocabulary: Vocabulary
    params: Params
    step: int


def write(directory: str | os.PathLike, model: Exported, dtype: str, card: str) -> None:
    """Writes a folder, whole or not at all.

    dtype: of the weights, one of DTYPES; card: the text of README.md.
    Raises UserError when the folder holds something already, or fp16 cannot hold a weight.
    """
    directory = Path(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory} exists and is not an empty folder")
    params = dict(model.params)
    condition = params.pop("condition", {})
    arrays = torch_weights.to_state_dict(params) | _condition_arrays(condition)
    arrays = {name: _stored(name, array, dtype) for name, array in arrays.items()}
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        metadata = {"format": "pt", "step": str(model.step)}
        save_file(arrays, partial / WEIGHTS, metadata)
        (partial / CONFIG).write_text(config_lib.to_json(model.config))
        is_published = model.config.loss.type == "score_entropy"
        is_published &= model.config.model.type != AUTOREGRESSIVE
        if not condition and is_published:
            num_codes = model.config.graph.num_codes or model.codec["codebook_size"]
            text = published_config.to_yaml(model.config, num_codes)
            (partial / PUBLISHED_CONFIG).write_text(text)
        (partial / CODEC).write_text(_json(model.codec))
        if model.vocabulary:
            (partial / TAGS).write_text(_json(model.vocabulary.to_json()))
        (partial / CARD).write_text(card, encoding="utf-8")
        partial.chmod(0o755)
        for path in partial.iterdir():
            path.chmod(0o644)
        if directory.exists():
            directory.rmdir()
        partial.rename(directory)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def read(directory: str | os.PathLike) -> Exported:
    """Reads what `write` wrote. Raises UserError naming the file that is missing or damaged."""
    directory = Path(directory)
    config = config_lib.load(directory / CONFIG)
    codec = _read_json(directory / CODEC)
    with _damaged(directory / CODEC):
        check_codec(codec)
    vocabulary = UNCONDITIONAL
    if (directory / TAGS).exists():
        values = _read_json(directory / TAGS)
        with _damaged(directory / TAGS):
            vocabulary = Vocabulary.from_json(values)
    path = directory / WEIGHTS
    arrays = dict(torch_files.read(path))
    of_condition = {name: arrays.pop(name) for name in list(arrays) if name.startswith(CONDITION)}
    with _damaged(path):
        params = torch_weights.to_params(arrays)
        for name, array in of_condition.items():
            if array.ndim != 2 or not np.isfinite(array).all():
                raise ValueError(f"{name} is no table of finite numbers")
        with safe_open(path, "numpy") as file:
            step = int((file.metadata() or {}).get("step", "0"))
    num_tags = len(of_condition.get(TAG_TABLE, ()))
    if num_tags != len(vocabulary):
        raise UserError(f"{path} has {num_tags} tags, {directory / TAGS} {len(vocabulary)}")
    if condition := _condition_params(of_condition, vocabulary, path):
        params["condition"] = condition
    return Exported(config, codec, vocabulary, params, step)


def load(
    source: str | os.PathLike, step: int | str | None = None, mesh: Mesh | None = None
) -> tuple[ModelDef, Params, int]:
    """(definition, EMA parameters on its mesh, step) of a model.

    source: the directory of a run or of an exported model, or its URL; `demo`; or `user/name` of an
    exported model on the Hugging Face hub, fetched into the hub's cache; a folder of that name
    comes first. step: of a run's checkpoint, the newest readable one by default; "best": that of
    lowest validation. mesh: see `load_run`.
    Raises UserError when there is no such model.
    """
    directory = locate(source, step)
    if not (directory / WEIGHTS).exists():
        return load_run(source, step, mesh)
    model = read(directory)
    if step not in (None, model.step):
        raise UserError(f"{source} holds step {model.step} alone, not {step}")
    mesh = mesh or mesh_lib.mesh_or_data_parallel(model.config.mesh)
    definition = build(model.config, model.codec, mesh, model.vocabulary)
    shapes = definition.state_shapes().ema_params
    if jax.tree.map(np.shape, model.params) != jax.tree.map(lambda s: s.shape, shapes):
        raise UserError(f"{source}: the weights are not those of the model in its {CONFIG}")
    params = jax.tree.map(lambda a, s: jax.device_put(a, s.sharding), model.params, shapes)
    return definition, params, model.step


def is_name(source: str | os.PathLike) -> bool:
    """True for `demo` and for a name of the hub, unless a folder of that name is what is meant."""
    if str(source) == DEMO:  # that folder may be anything: the samples of the demo, its configs
        return not any((Path(DEMO) / name).exists() for name in (WEIGHTS, "checkpoints"))
    return hub.is_name(source)


def _condition_arrays(condition: Params) -> dict[str, np.ndarray]:
    """The arrays that the parameters of a condition are stored as."""
    arrays = {}
    if "tags" in condition:
        arrays[TAG_TABLE] = np.asarray(condition["tags"]["embedding"])
    for kind, params in condition.get("vectors", {}).items():
        arrays[VECTOR_MAP.format(kind)] = np.asarray(params["kernel"])
    return arrays


def _condition_params(
    arrays: Mapping[str, np.ndarray], vocabulary: Vocabulary, path: Path
) -> Params:
    """The inverse of `_condition_arrays`. Raises UserError for arrays of another vocabulary."""
    names = [TAG_TABLE] if vocabulary.tracks else []
    names += [VECTOR_MAP.format(kind) for kind in vocabulary.vectors]
    if wrong := sorted(set(names) ^ set(arrays)):
        raise UserError(f"{path} and {path.with_name(TAGS)} do not go together: {wrong[0]}")
    condition: Params = {}
    if vocabulary.tracks:
        condition["tags"] = {"embedding": arrays[TAG_TABLE].astype(np.float32)}
    if vocabulary.vectors:
        condition["vectors"] = {
            kind: {"kernel": arrays[VECTOR_MAP.format(kind)].astype(np.float32)}
            for kind in vocabulary.vectors
        }
    return condition


def locate(source: str | os.PathLike, step: int | str | None = None) -> Path:
    """The directory of a model that `load` takes, fetched if it is on the hub or in a bucket; it
    may be anything. step: of the checkpoint that is needed, the newest by default.

    Raises UserError when the hub has no such model, or the bucket no such checkpoint.
    """
    if not is_name(source):
        return local_run(source, step)
    if str(source) != DEMO:
        return hub.fetch(str(source), FILES)
    if not DEMO_FOLDER.is_dir():
        raise UserError(f"the model {DEMO} is not part of this installation: {DEMO_FOLDER}")
    return DEMO_FOLDER


def _stored(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    stored = np.ascontiguousarray(array, dtype=dtype)
    if not np.isfinite(stored).all():
        raise UserError(f"{name} holds values that {dtype} cannot hold")
    return stored


@contextlib.contextmanager
def _damaged(path: Path) -> Iterator[None]:
    """A context in which what is wrong with a file's content becomes one line that names it."""
    try:
        yield
    except (UserError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), indent=2) + "\n"


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error, 150)}") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} holds no JSON object")
    return values
