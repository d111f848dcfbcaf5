"""The objects of a run, made from its config: the one place where they are put together."""

import dataclasses
import enum
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from sedd_jax import config as config_lib
from sedd_jax.checkpoints import BEST
from sedd_jax.checkpoints.manager import Checkpoints
from sedd_jax.conditions import UNCONDITIONAL, Vocabulary
from sedd_jax.diffusion.distillation import Distillation
from sedd_jax.diffusion.graph import Absorbing, Uniform, make_graph
from sedd_jax.diffusion.noise import EvenShare, Geometric, LogLinear, Noise, make_noise
from sedd_jax.diffusion.parametrisation import Parametrisation, make_parametrisation
from sedd_jax.errors import UserError
from sedd_jax.network import next_token, transformer
from sedd_jax.network.choices import AUTOREGRESSIVE
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.remote_run import local_run
from sedd_jax.state import Params, TrainState, init_state


class Stream(enum.IntEnum):
    """The purposes for which a run draws random numbers; no two share a key."""

    INIT = 0
    TRAIN = 1
    EVALUATE = 2
    SAMPLE = 3


@dataclasses.dataclass(frozen=True, eq=False)
class ModelDef:
    """A model without its parameters: network, what it says, noising process, where it lives.

    To `Model` (sedd_jax/api.py) what nnx.GraphDef is to a module. codec: dataset.json's "codec", of
    which the model knows the first `graph.num_codes` codes, as a rule all; vocabulary: the tags
    and vectors that it may be conditioned on, none for an unconditional model.

    Hashed by identity, so that programs compiled for a run can be cached by it.
    """

    config: ConfigDict
    codec: Mapping[str, Any]
    graph: Absorbing | Uniform
    noise: LogLinear | Geometric
    network: transformer.NetworkConfig
    parametrisation: Parametrisation
    mesh: Mesh
    vocabulary: Vocabulary = UNCONDITIONAL

    @property
    def training_noise(self) -> Noise:
        """The noise at the times that training draws: config.loss.times."""
        return EvenShare(self.noise) if self.config.loss.times == "masked_share" else self.noise

    @property
    def distillation(self) -> Distillation | None:
        """The round of distillation that a run does; None in a run that does none."""
        distill = self.config.distill
        return Distillation(**distill.to_dict()) if distill.steps else None

    @property
    def is_autoregressive(self) -> bool:
        return self.config.model.type == AUTOREGRESSIVE

    def require_diffusion(self, what: str) -> None:
        """Raises UserError for an autoregressive model. what: the thing that it cannot do."""
        if self.is_autoregressive:
            raise UserError(f"{what} needs a diffusion model, and this one is autoregressive")

    def token_nats(self, params: Params, tokens_BxL, *, dropout_key_B=None, condition=None):
        """−log p of each token given those before it, (B, L) fp32, of an autoregressive model.

        See sedd_jax.network.next_token.nats. Raises UserError for another model.
        """
        if not self.is_autoregressive:
            raise UserError("an autoregressive model is needed, and this one is of diffusion")
        return next_token.nats(
            self.network, params, tokens_BxL, dropout_key_B=dropout_key_B, condition=condition
        )

    def output(self, params: Params, x_BxL, sigma_B, *, dropout_key_B=None, condition=None):
        """The network's output (B, L, V) fp32; see sedd_jax.network.transformer.output."""
        return transformer.output(
            self.network, params, x_BxL, sigma_B, dropout_key_B=dropout_key_B, condition=condition
        )

    def log_score(self, params: Params, x_BxL, sigma_B, *, condition=None):
        """log-scores (B, L, V) fp32 of every token at every position; 0 at the current token.

        x_BxL: tokens; sigma_B: total noise; condition: see sedd_jax/conditions.py, None for none.
        Raises UserError for an autoregressive model.
        """
        self.require_diffusion("a score")
        output_BxLxV = self.output(params, x_BxL, sigma_B, condition=condition)
        return self.parametrisation.log_score(output_BxLxV, x_BxL, sigma_B)

    def stream_key(self, stream: Stream) -> jax.Array:
        """The typed key that everything drawn for `stream` descends from."""
        return jax.random.fold_in(jax.random.key(self.config.seed), stream)

    def fresh_state(self) -> TrainState:
        """A new train state, made where its shards live: no device ever holds all of it."""
        return self.jit_fresh_state()()

    def jit_fresh_state(self) -> Callable[[], TrainState]:
        """The program that makes a train state, compiled for the mesh when called."""
        shardings = mesh_lib.tree_shardings(self.mesh, jax.eval_shape(self._init))
        return jax.jit(self._init, out_shardings=shardings)

    def state_from(self, params: Params) -> TrainState:
        """A train state before its first step, of these parameters, whose arrays it takes over."""
        shardings = mesh_lib.tree_shardings(self.mesh, jax.eval_shape(self._init))
        return jax.jit(self._begin, donate_argnums=0, out_shardings=shardings)(params)

    def _init(self) -> TrainState:
        return self._begin(transformer.init_params(self.network, self.stream_key(Stream.INIT)))

    def _begin(self, params: Params) -> TrainState:
        keeps_teacher = self.distillation is not None
        return init_state(params, self.config.optim, keeps_teacher=keeps_teacher)

    def state_shapes(self) -> TrainState:
        """The train state's shapes, dtypes and shardings, with no array made."""
        shapes = jax.eval_shape(self._init)
        return jax.tree.map(
            lambda shape, sharding: jax.ShapeDtypeStruct(
                shape.shape, shape.dtype, sharding=sharding
            ),
            shapes,
            mesh_lib.tree_shardings(self.mesh, shapes),
        )


def build(
    config: ConfigDict,
    codec: Mapping[str, Any],
    mesh: Mesh | None = None,
    vocabulary: Vocabulary = UNCONDITIONAL,
) -> ModelDef:
    """The run that a checked config describes, for tokens of `codec`.

    mesh: config.mesh over all devices by default. vocabulary: what config.conditioning asks for.
    Raises UserError when mesh or attention do not fit the devices.
    """
    config = config_lib.settled(config)
    num_codes = config.graph.num_codes or codec["codebook_size"]
    if num_codes > codec["codebook_size"]:
        raise UserError(
            f"config.graph.num_codes is {num_codes}, the codec has {codec['codebook_size']} codes"
        )
    graph = make_graph(config.graph.type, num_codes)
    noise = make_noise(
        config.noise.type, sigma_min=config.noise.sigma_min, sigma_max=config.noise.sigma_max
    )
    mesh = mesh_lib.make_mesh(config.mesh) if mesh is None else mesh
    platform = mesh.devices.flat[0].platform
    model = config.model.to_dict()
    if model["compute_dtype"] == "auto":
        model["compute_dtype"] = "float32" if platform == "cpu" else "bfloat16"
    if model["unroll"] == "auto":
        # A CPU gains nothing, and a TPU's program takes many minutes to compile. Where blocks are
        # computed anew, memory is scarce: a loop needs less.
        model["unroll"] = platform == "gpu" and model["remat"] == "none"
    else:
        model["unroll"] = model["unroll"] == "on"
    for attention, needed in (("cudnn", "gpu"), ("splash", "tpu")):
        if model["attention"] == attention and platform != needed:
            raise UserError(
                f"config.model.attention {attention} needs a {needed.upper()}, not a {platform}: "
                "try auto"
            )
    if (model["attention"], model["compute_dtype"]) == ("splash", "float32"):
        raise UserError(
            "config.model.attention splash rounds to bfloat16, which config.model.compute_dtype "
            "float32 forbids: try auto"
        )
    mesh_lib.check_model(mesh, model["num_heads"], model["length"])
    is_causal = model.pop("type") == AUTOREGRESSIVE
    parametrisation = make_parametrisation(
        config.loss.type, graph, scale_by_sigma=model.pop("scale_by_sigma")
    )
    network = transformer.NetworkConfig(
        vocab_size=graph.vocab_size,
        mesh=mesh,
        causal=is_causal,
        num_tags=len(vocabulary),
        vectors=tuple((kind, known.width) for kind, known in vocabulary.vectors.items()),
        is_told_sigma=parametrisation.is_told_sigma and not is_causal,
        **model,
    )
    return ModelDef(config, codec, graph, noise, network, parametrisation, mesh, vocabulary)


def checkpoint_dir(workdir: str | os.PathLike) -> Path:
    return Path(workdir) / "checkpoints"


def load_run(
    workdir: str | os.PathLike, step: int | str | None = None, mesh: Mesh | None = None
) -> tuple[ModelDef, Params, int]:
    """(run, EMA parameters on its mesh, step) of a trained run's checkpoint.

    step: the newest readable checkpoint by default; BEST: that of lowest validation. mesh: that of
    the run's config, or, when the devices here do not fit it, all of them along `data`.
    Raises UserError when there is no such checkpoint.
    """
    directory = checkpoint_dir(local_run(workdir, step))
    if not directory.is_dir():
        raise UserError(f"{workdir} holds no trained run: there is no {directory}")

    def read(step: int) -> tuple[ModelDef, Params, int]:
        meta = checkpoints.read_meta(step)
        config_lib.check_saved(meta.config, workdir)
        config = config_lib.from_dict(meta.config)
        run = build(
            config,
            meta.codec,
            mesh or mesh_lib.mesh_or_data_parallel(config.mesh),
            Vocabulary.from_json(meta.vocabulary),
        )
        return run, checkpoints.restore_ema(meta, run.state_shapes().ema_params), step

    with Checkpoints(directory, read_only=True) as checkpoints:
        if step == BEST:
            return checkpoints.at_best(read)
        return checkpoints.newest(read) if step is None else checkpoints.at(int(step), read)
