"""The trained model that a new run starts from: another run, or an exported model.

The new run takes its EMA weights, with the rows of the tags and the maps of the vectors that both
know. Optimizer, step and order of the data are fresh. The parametrisation may be another where
READS_AS says so.
"""

import dataclasses
import functools
import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from sedd_jax import config as config_lib
from sedd_jax.checkpoints import BEST
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.meta import digest
from sedd_jax.conditions import Vocabulary
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef, checkpoint_dir
from sedd_jax.network import condition as condition_lib
from sedd_jax.network import transformer
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.state import Params
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.paths import is_url

# What weights of equal shapes and of the same meaning have in common.
SHARED_KEYS = (
    "model.type",
    "graph.type",
    "model.num_blocks",
    "model.width",
    "model.num_heads",
    "model.cond_dim",
)

# The parametrisations (`loss.type`) that weights of each can be read as. Scores of masked positions
# are p(code) up to a factor, so that a softmax of them is p: as "masked" it is the same model with
# its sums put right. Not the other way, where the factor would be missing. "conditional" is told no
# noise level; it starts from what half-masked sequences were told.
READS_AS = {"score_entropy": ("masked", "conditional"), "masked": ("conditional",)}
HALF_MASKED = np.float32(np.log(2))  # sigma at which a token is masked with probability 1/2


@dataclasses.dataclass(frozen=True)
class Origin:
    """A trained model that a run can start from; its weights are read when they are needed.

    name: as it was given; directory: where it lies; weights: a hash of them.
    """

    name: str
    directory: Path
    config: ConfigDict
    codec: Mapping[str, Any]
    vocabulary: Vocabulary
    step: int
    weights: str

    def to_json(self) -> dict[str, Any]:
        """The record of it that a run keeps."""
        place = _place(self.name)
        return {"name": self.name, "place": place, "step": self.step, "weights": self.weights}


def find(name: str) -> Origin:
    """The model RUN, RUN@STEP, RUN@best (a run's newest checkpoint, that of a step, that of
    lowest validation), FOLDER (an exported one), `demo` or `user/name` of the Hugging Face hub.

    Raises UserError when there is none.
    """
    directory, step = _locate(name)
    if (directory / exported.WEIGHTS).exists():
        model = exported.read(directory)
        if step not in (None, model.step):
            raise UserError(f"{name}: the exported model is of step {model.step}")
        with (directory / exported.WEIGHTS).open("rb") as file:
            weights = hashlib.file_digest(file, "sha256").hexdigest()
        return Origin(
            name, directory, model.config, model.codec, model.vocabulary, model.step, weights
        )
    with Checkpoints(checkpoint_dir(directory), read_only=True) as checkpoints:
        read = checkpoints.read_meta
        if step == BEST:
            meta = checkpoints.at_best(read)
        else:
            meta = checkpoints.newest(read) if step is None else checkpoints.at(int(step), read)
    config_lib.check_saved(meta.config, directory)
    ema = {name: s for name, s in meta.checksums.items() if name.startswith("ema_params/")}
    vocabulary = Vocabulary.from_json(meta.vocabulary)
    config = config_lib.from_dict(meta.config)
    return Origin(name, directory, config, meta.codec, vocabulary, meta.step, digest(ema))


def starting_config(name: str) -> ConfigDict:
    """The config of a run that starts from this model and changes nothing: the model's own.

    Without its data and its mesh, which are of where it was trained, and training all parameters at
    all noise levels alike, without a teacher. It uses no JAX. Raises UserError as `find`.
    """
    directory, _ = _locate(name)
    config = config_lib.load(directory / exported.CONFIG).copy_and_resolve_references().unlock()
    config.data.path, config.optim.trainable = "", ()
    config.training.update(high_noise_share=0.0, span_masks=0.0)
    config.distill.steps = 0
    for sizes in (config.mesh, config.mesh.dcn):
        sizes.update(mesh_lib.SLICES_ALONG_DATA)
    return config


def check_fits(origin: Origin, run: ModelDef) -> None:
    """Raises UserError naming a key of the run's config that the weights do not fit."""
    theirs, ours = (dict(config_lib.flatten(c)) for c in (origin.config, run.config))
    for key in SHARED_KEYS:
        if theirs[key] != ours[key]:
            raise UserError(
                f"{origin.name} has config.{key}={config_lib.as_text(theirs[key])}, the run "
                f"{config_lib.as_text(ours[key])}: its weights do not fit"
            )
    _check_parametrisation(origin, run)
    num_codes = origin.config.graph.num_codes or origin.codec["codebook_size"]
    if num_codes != run.graph.num_codes:
        raise UserError(
            f"{origin.name} knows {num_codes} codes, the run {run.graph.num_codes}: its weights do "
            "not fit"
        )
    for kind in origin.vocabulary.vectors.keys() & run.vocabulary.vectors.keys():
        width, ours_width = (v.vectors[kind].width for v in (origin.vocabulary, run.vocabulary))
        if width != ours_width:
            raise UserError(
                f"{origin.name} knows vectors {kind!r} of {width} numbers, the data has "
                f"{ours_width}: its weights do not fit"
            )


def _check_parametrisation(origin: Origin, run: ModelDef) -> None:
    """Raises UserError if the run cannot read the weights as its parametrisation's."""
    theirs, ours = origin.config, run.config
    known, wanted = theirs.loss.type, ours.loss.type
    if known != wanted:
        others = READS_AS.get(known, ())
        if theirs.graph.type != "absorbing" or wanted not in others:
            also = f"; they can be read as {' or '.join(others)}" if others else ""
            raise UserError(
                f"{origin.name} has config.loss.type={known}, the run {wanted}: its weights do not "
                f"fit{also}"
            )
        if run.distillation:
            raise UserError(
                f"{origin.name}, the teacher, has config.loss.type={known}, the run {wanted}: a "
                "student has its teacher's"
            )
    elif theirs.model.scale_by_sigma != ours.model.scale_by_sigma:
        raise UserError(
            f"{origin.name} has config.model.scale_by_sigma={theirs.model.scale_by_sigma}, the run "
            f"{ours.model.scale_by_sigma}: its weights do not fit"
        )


def initial_params(origin: Origin, run: ModelDef) -> Params:
    """The origin's EMA weights as parameters of the run, on its mesh.

    What the origin does not know, a tag or a kind of vectors, has zeros, so that the network is the
    same function with it as without. Raises UserError when they can no longer be read.
    """
    shapes = dict(run.state_shapes().params)
    condition_shapes = shapes.pop("condition", None)
    wanted = dict(shapes)

    def replicated(tree):
        sharding = mesh_lib.replicated(run.mesh)
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree
        )

    forgets_sigma = "constant" in shapes and origin.config.loss.type != run.config.loss.type
    if forgets_sigma:
        constant_shapes = wanted.pop("constant")
        wanted["sigma_map"] = replicated(transformer.sigma_map_shapes(run.network))
    if origin.vocabulary:
        wanted["condition"] = replicated(_zeros(origin.vocabulary, run.config.model.cond_dim))
    params = _read_params(origin, wanted)
    if forgets_sigma:
        sigma_map = jax.device_get(params.pop("sigma_map"))
        sigma_map = transformer.module(run.network, "sigma_map", sigma_map)
        (value_C,) = sigma_map(HALF_MASKED[None])
        params["constant"] = jax.tree.map(
            lambda shape: jax.device_put(value_C, shape.sharding), constant_shapes
        )
    theirs = jax.device_get(params.pop("condition", {}))
    if condition_shapes is not None:
        ours = _zeros(run.vocabulary, run.config.model.cond_dim)
        _copy_rows(origin.vocabulary, theirs, run.vocabulary, ours)
        _copy_kernels(origin.vocabulary, theirs, run.vocabulary, ours)
        params["condition"] = jax.tree.map(
            lambda array, shape: jax.device_put(array, shape.sharding), ours, condition_shapes
        )
    return params


def _read_params(origin: Origin, wanted: Params) -> Params:
    """The origin's EMA weights of the shapes wanted, laid out as these say. Raises UserError."""
    if (origin.directory / exported.WEIGHTS).exists():
        arrays = exported.read(origin.directory).params
        if jax.tree.map(np.shape, arrays) != jax.tree.map(lambda s: s.shape, wanted):
            raise UserError(f"{origin.name}: the weights are not those of the model in its config")
        return jax.tree.map(lambda a, s: jax.device_put(a, s.sharding), arrays, wanted)
    with Checkpoints(checkpoint_dir(origin.directory), read_only=True) as checkpoints:
        return checkpoints.at(
            origin.step, lambda s: checkpoints.restore_ema(checkpoints.read_meta(s), wanted)
        )


def _zeros(vocabulary: Vocabulary, cond_dim: int) -> Params:
    """The fresh parameters of a condition, NumPy arrays."""
    widths = {kind: known.width for kind, known in vocabulary.vectors.items()}
    make = functools.partial(condition_lib.init_params, len(vocabulary), widths, cond_dim)
    return jax.tree.map(lambda shape: np.zeros(shape.shape, shape.dtype), jax.eval_shape(make))


def _copy_rows(known: Vocabulary, theirs: Params, wanted: Vocabulary, ours: Params) -> None:
    """Copies the rows of known tags into the table (T, C) of the wanted ones, by name."""
    if known.tracks and wanted.tracks:
        row_of = dict(zip(known.tracks, theirs["tags"]["embedding"], strict=True))
        for row_C, tag in zip(ours["tags"]["embedding"], wanted.tracks, strict=True):
            if tag in row_of:
                row_C[:] = row_of[tag]


def _copy_kernels(known: Vocabulary, theirs: Params, wanted: Vocabulary, ours: Params) -> None:
    """Copies the map (W + 1, C) of each kind that both have, for vectors over the wanted norm."""
    for kind in known.vectors.keys() & wanted.vectors.keys():
        kernel_W1xC = np.array(theirs["vectors"][kind]["kernel"])
        kernel_W1xC[:-1] *= wanted.vectors[kind].norm / known.vectors[kind].norm
        ours["vectors"][kind]["kernel"] = kernel_W1xC


def describe(origin: Origin, vocabulary: Vocabulary, loss_type: str) -> str:
    """A line for people on what a run of this vocabulary and `loss.type` takes from the origin."""
    line = f"starts from {origin.name}, step {origin.step:,}"
    if loss_type != (known := origin.config.loss.type):
        line += f", {known} read as {loss_type}"
    if kinds := vocabulary.vectors.keys() & origin.vocabulary.vectors.keys():
        line += f", with its maps of the vectors {', '.join(sorted(kinds))}"
    theirs, ours = set(origin.vocabulary.tracks), set(vocabulary.tracks)
    if not theirs and not ours:
        return line
    if not ours:
        return f"{line}, without its {len(theirs)} tags: the run is told none"
    return (
        f"{line}: of the tags {len(theirs & ours)} keep their rows, {len(ours - theirs)} are new, "
        f"{len(theirs - ours)} are left out"
    )


def check_same(name: str, record: Mapping[str, Any], workdir: Path) -> None:
    """Refuses to go on with a run as if it had started from `name`. The model may be gone by now.

    record: the origin's, as the run keeps it; {} for a run that started afresh. Raises UserError.
    """
    if not record or (name != record["name"] and _place(name) != record["place"]):
        started = f"from {record['name']}" if record else "with fresh parameters"
        raise UserError(
            f"{workdir} was started {started}, not from {name}: leave that out, or train in "
            "another directory"
        )


def _split(name: str) -> tuple[str, int | str | None]:
    """(RUN, STEP) of RUN@STEP, (RUN, BEST) of RUN@best, else (name, None)."""
    match = re.fullmatch(rf"(.+)@(\d+|{BEST})", name)
    if not match or Path(name).exists():
        return name, None
    return match[1], BEST if match[2] == BEST else int(match[2])


def _place(name: str) -> str:
    """A text that is equal for names of the same model; the model may be gone."""
    source, step = _split(name)
    is_place = is_url(source) or exported.is_name(source)
    place = source if is_place else str(Path(source).absolute())
    return place if step is None else f"{place}@{step}"


def _locate(name: str) -> tuple[Path, int | str | None]:
    """(directory, step, BEST or None) of a model. Raises UserError when there is none."""
    source, step = _split(name)
    directory = exported.locate(source, step)
    if not (directory / exported.WEIGHTS).exists() and not checkpoint_dir(directory).is_dir():
        raise UserError(f"{source} is neither a trained run nor an exported model")
    return directory, step
