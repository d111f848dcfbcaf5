"""A training job: a run, its data and its directory, checked before anything is compiled."""

import contextlib
import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from sedd_jax import config as config_lib
from sedd_jax import data as data_lib
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.checkpoints.meta import Meta
from sedd_jax.conditions import Condition, Vocabulary, read_vocabulary
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef, build, checkpoint_dir
from sedd_jax.monitoring import writers
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.parallel.consensus import from_first
from sedd_jax.state import TrainState, trained_part
from sedd_jax.training import origin as origin_lib
from tokenizer_bridge.token_dataset.files import write_json_atomically
from tokenizer_bridge.token_dataset.locks import PATIENCE_S, alone_in
from tokenizer_bridge.token_dataset.records import DATASET_FILE, TRAIN_SPLIT, TokenDataset
from tokenizer_bridge.token_dataset.vectors import Vectors

DATA = "data.path"


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is to be trained, with its data.

    data_fingerprint: of the training data; windows: those that it is cut into.
    init_from: name of the model that it starts from (sedd_jax/training/origin.py), None for fresh
    parameters; origin: that model, where the run has not begun yet; origin_record: what the run
    keeps of it. allow_change: keys of the config that may be changed when it goes on; history: what
    has been, as checkpoints have it.
    """

    run: ModelDef
    workdir: Path
    dataset: TokenDataset
    windows: data_lib.Windows
    data_fingerprint: str
    init_from: str | None = None
    origin: origin_lib.Origin | None = None
    origin_record: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    allow_change: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()

    def start(self, checkpoints: Checkpoints) -> tuple["Job", TrainState]:
        """(the job as it stands, its state): that of the newest whole checkpoint.

        Where there is no checkpoint, it is that of the origin's weights, or a fresh one. Raises
        UserError when the directory holds a run of another config, data or origin, or only
        checkpoints that cannot be read.
        """
        if checkpoints.is_empty:
            if checkpoints.has_damaged:
                raise UserError(
                    f"{checkpoints.directory} holds damaged checkpoints and no whole one: rename "
                    "damaged-STEP to STEP to try it again, or train in another directory"
                )
            if self.origin is None:
                return self, self.run.fresh_state()
            params = origin_lib.initial_params(self.origin, self.run)
            job = dataclasses.replace(self, origin_record=self.origin.to_json())
            return job, self.run.state_from(params)

        def read(step: int) -> tuple["Job", TrainState]:
            meta = checkpoints.read_meta(step)
            if self.init_from is not None:
                origin_lib.check_same(self.init_from, meta.origin, self.workdir)
            self.dataset.require_codec(meta.codec)
            config = self.run.config
            changed = config_lib.check_resumable(
                meta.config, config, self.workdir, self.allow_change
            )
            if meta.dataset != self.data_fingerprint:
                if DATA not in self.allow_change:
                    raise config_lib.OtherRun(
                        f"{self.workdir} was trained on other tracks than {self.dataset.path} "
                        "holds: give it the same data or train in another directory",
                        [DATA],
                    )
                changed[DATA] = (meta.config["data"]["path"], config.data.path)
            vocabulary = self.run.vocabulary
            known = Vocabulary.from_json(meta.vocabulary)
            if dataclasses.replace(known, max_tags=vocabulary.max_tags) != vocabulary:
                raise UserError(
                    f"{self.workdir} was trained with other tags or vectors than "
                    f"{self.dataset.path} holds: give it the same data or train in another "
                    "directory"
                )
            state = checkpoints.restore(meta, self.run.state_shapes())
            history = tuple(meta.history)
            if changed:
                history += ({"step": step, "changed": {k: list(v) for k, v in changed.items()}},)
            job = dataclasses.replace(self, origin=None, origin_record=meta.origin, history=history)
            return job, state

        return checkpoints.newest(read)

    def batches(self, start_step: int) -> Iterator[tuple[Any, ...]]:
        """Endless global batches on the run's mesh, as `train_step` takes them: (tokens,) or
        (tokens, condition). This host reads its own rows of them."""
        config = self.run.config
        batch_size, length = config.training.batch_size, config.model.length
        sharding = mesh_lib.batch_sharding(self.run.mesh)
        rows_R = mesh_lib.host_rows(sharding, batch_size)

        def condition_of(tags: Sequence[str], vectors: Vectors) -> Condition:
            condition = self.run.vocabulary.condition([tags], vectors_B=[vectors])
            return jax.tree.map(lambda rows: rows[0], condition)

        def place(local: np.ndarray) -> jax.Array:
            shape = (batch_size, *local.shape[1:])
            return mesh_lib.place_rows(sharding, shape, rows_R, local)

        local_batches = data_lib.training_batches(
            self.dataset,
            TRAIN_SPLIT,
            length=length,
            batch_size=batch_size,
            seed=config.seed,
            start_step=start_step,
            rows_R=rows_R,
            condition_of=condition_of if self.run.vocabulary else None,
        )
        for local in local_batches:
            yield jax.tree.map(place, local if isinstance(local, tuple) else (local,))

    def meta(self, step: int, validation: Mapping[str, Any] | None = None) -> Meta:
        """The description of a checkpoint of this step. validation: of its EMA weights."""
        return Meta(
            step,
            self.run.config.to_dict(),
            self.dataset.codec,
            self.data_fingerprint,
            vocabulary=self.run.vocabulary.to_json(),
            origin=self.origin_record,
            history=self.history,
            validation=validation or {},
        )

    def describe_in_workdir(self) -> None:
        """Writes config.json and codec.json, and origin.json where the run has an origin."""
        config_lib.save(self.run.config, self.workdir / "config.json", self.history)
        write_json_atomically(self.workdir / "codec.json", self.dataset.codec)
        if self.origin_record:
            write_json_atomically(self.workdir / "origin.json", self.origin_record)


def sole_trainer(
    workdir: Path, patience_s: float = PATIENCE_S
) -> contextlib.AbstractContextManager[None]:
    """Holds a directory against a second training in it, as long as this process lives.

    patience_s: how long an earlier one may take to die. Where the disk knows no locks it holds
    nothing. Raises UserError when another one is at work.
    """
    said = f"{workdir}: another process is training there; stop it or train elsewhere"
    return alone_in(workdir, said, patience_s)


def has_begun(workdir: Path) -> bool:
    """True when a directory holds a run with a whole checkpoint; the same at all processes."""
    directory = checkpoint_dir(workdir)
    if not from_first(directory.is_dir()):
        return False
    with Checkpoints(directory, read_only=True) as checkpoints:
        return not checkpoints.is_empty


def prepare(
    config: ConfigDict,
    workdir: Path,
    init_from: str | None = None,
    allow_change: Collection[str] = (),
) -> Job:
    """The job that a config describes.

    init_from: name of the model that it starts from; allow_change: keys whose values may be others
    than those that the run had, where it has begun. Raises UserError for what cannot work.
    """
    config_lib.check(config)
    writers.require(config.monitoring.writers)
    if not config.data.path:
        raise UserError("config.data.path is empty: a token dataset is needed")
    if (workdir / DATASET_FILE).exists():
        raise UserError(f"{workdir} holds a token dataset: train in another directory")
    dataset = TokenDataset(config.data.path)
    config = config.copy_and_resolve_references()
    config.data.path = dataset.place  # evaluate reads it from anywhere
    if config.graph.num_codes not in (0, dataset.codec["codebook_size"]):
        raise UserError(
            f"config.graph.num_codes is {config.graph.num_codes}, and {dataset.path} has "
            f"{dataset.codec['codebook_size']} codes: a model that does not know all is not trained"
        )
    conditioning = config.conditioning
    windows = data_lib.plan_windows(dataset, TRAIN_SPLIT, config.model.length)
    data_fingerprint = data_lib.fingerprint(dataset, TRAIN_SPLIT)
    begun = has_begun(workdir)
    origin = origin_lib.find(init_from) if init_from and not begun else None
    if origin:
        dataset.require_codec(origin.codec)
    elif config.distill.steps and not begun:
        raise UserError(
            f"config.distill.steps is {config.distill.steps}: the model that a run starts from is "
            "the teacher, and this one starts from none"
        )
    vocabulary = _kept_vocabulary(workdir, dataset, allow_change) if begun else None
    if vocabulary is None:
        vocabulary = read_vocabulary(
            dataset,
            TRAIN_SPLIT,
            conditioning.categories,
            conditioning.min_tracks,
            conditioning.vectors,
        )
    run = build(config, dataset.codec, vocabulary=vocabulary)
    mesh_lib.check_batch(run.mesh, config.training.batch_size, config.training.accumulation)
    trained_part(run.state_shapes().params, config.optim.trainable)  # raises for a wrong name
    if origin:
        origin_lib.check_fits(origin, run)
    return Job(
        run,
        workdir,
        dataset,
        windows,
        data_fingerprint,
        init_from,
        origin,
        allow_change=tuple(allow_change),
    )


def _kept_vocabulary(
    workdir: Path, dataset: TokenDataset, allow_change: Collection[str]
) -> Vocabulary | None:
    """The vocabulary of a run that goes on with other data than it began with; None for any other.

    Its weights know the tags and vectors of the data before. Raises UserError where the vectors of
    the data here are of other widths.
    """
    with Checkpoints(checkpoint_dir(workdir), read_only=True) as checkpoints:
        meta = checkpoints.newest(checkpoints.read_meta)
    if DATA not in allow_change and not any(DATA in c["changed"] for c in meta.history):
        return None
    vocabulary = Vocabulary.from_json(meta.vocabulary)
    vocabulary.require_widths(dataset)
    if not vocabulary.tracks:
        return vocabulary
    most = max(len(vocabulary.known(r.tags)) for r in dataset.records(TRAIN_SPLIT))
    return dataclasses.replace(vocabulary, max_tags=max(vocabulary.max_tags, most))
