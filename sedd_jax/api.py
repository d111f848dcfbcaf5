"""A trained model as an object: what `sample` and `evaluate` do, without files and flags.

    model = Model.load("demo")  # or the directory of a run
    tokens = model.sample(4, seed=0, steps=64)  # (4, L) uint16
    model.continue_(tokens[0], seconds=20)  # (1, L + those of 20 s)
    model.bits_per_token(tokens)  # the bound, with its interval
    model.log_score(tokens, sigma=0.5)  # (4, L, V) float32

Letters: N sequences, L length, V vocabulary (the codes, and the mask of an absorbing model).
"""

import functools
import math
import numbers
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from sedd_jax.diffusion.choices import LEAST_SIGMA, MAX_SIGMA
from sedd_jax.diffusion.schedule import Schedule
from sedd_jax.errors import UserError
from sedd_jax.likelihood import cost
from sedd_jax.likelihood.held_out import SplitWindows
from sedd_jax.likelihood.infilling import infill_nats
from sedd_jax.model import ModelDef
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.sampling.editable import Editable
from sedd_jax.sampling.generate import generate
from sedd_jax.sampling.known import make_known
from sedd_jax.sampling.settings import settle
from sedd_jax.sampling.tags import make_guide
from sedd_jax.state import Params
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.intervals import Estimate, per_token


class Model(Editable):
    """A score model with its weights, which also edits songs: `Editable`. `load` makes one.

    definition: network, graph and noise; params: the EMA weights, on the devices of
    `definition.mesh`; step: updates that they were trained for.
    """

    def __init__(self, definition: ModelDef, params: Params, step: int):
        self.definition, self.params, self.step = definition, params, step

    @classmethod
    def load(
        cls, source: str | os.PathLike, *, step: int | str | None = None, mesh: Mesh | None = None
    ) -> "Model":
        """The model of a run, of an exported folder, or the one that comes with the project.

        Args:
          source: the directory (`--workdir` of the commands), "demo", or "user/name" of an exported
            model on the Hugging Face hub.
          step: of the checkpoint; the newest readable one by default; "best": that of lowest
            validation.
          mesh: devices to use; those of the run's config by default, or, where they do not fit,
            all of them along `data`.

        Raises:
          UserError: there is no such model or checkpoint.
        """
        return cls(*exported.load(source, step, mesh))

    @property
    def codec(self) -> Mapping[str, Any]:
        """The codec whose tokens it speaks, as `tokenizer_bridge.Codec.load` takes it."""
        return self.definition.codec

    @property
    def length(self) -> int:
        """Tokens of the sequences that it was trained on."""
        return self.definition.config.model.length

    @property
    def num_codes(self) -> int:
        """The number of codes: every token is below it."""
        return self.definition.graph.num_codes

    @property
    def tags(self) -> Mapping[str, int]:
        """The tags that steer it, `category---name`, with their training tracks; {} for none."""
        return self.definition.vocabulary.tracks

    @property
    def vectors(self) -> Mapping[str, int]:
        """The kinds of vectors that steer it, such as "clip", with their widths; {} for none."""
        return {kind: known.width for kind, known in self.definition.vocabulary.vectors.items()}

    def sample(
        self,
        num_samples: int,
        *,
        tags: Sequence[str] = (),
        vectors: Mapping[str, np.ndarray] | None = None,
        guidance: float = 1.0,
        seed: int = 0,
        steps: int | None = None,
        sampler: str | None = None,
        schedule: Schedule | None = None,
        strength: float | None = None,
        length: int | None = None,
        overlap: int | None = None,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        known: np.ndarray | None = None,
        is_known: np.ndarray | None = None,
        time: str = "masked_share",
        sweeps: int = 1,
        batch_size: int | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> np.ndarray:
        """New sequences (num_samples, L) uint16; the i-th depends on `seed` and i alone.

        They are those of the command `sample` with the same settings.

        Args:
          tags: of all samples, of those in `self.tags`.
          vectors: of kinds in `self.vectors`, (W,) for all samples or (num_samples, W).
          guidance: how much tags and vectors count; 1 is the conditional model, others cost double.
          steps, sampler, schedule, batch_size: as in config.sampling by default; strength: of a
            sampler that has one (sedd_jax/diffusion/orders.py).
          length: tokens of a sequence; those of training by default. More than those are drawn in
            windows of that length, each given the end of the one before, of `overlap` tokens; half
            a window by default.
          temperature, top_k, top_p: how narrow the choice of a token is, never when it is made:
            probabilities to the power 1 / temperature, the k most probable, the most probable that
            make up a share p.
          known, is_known: tokens that are there from the start, and bool, where; both (L,) for all
            samples or (num_samples, L). They come back unchanged, and all else is drawn given them.
            The length is theirs.
          time, sweeps: with known tokens: the noise level that the network is told, and how often a
            step is taken (sedd_jax/diffusion/known.py).
          progress: called after each dispatch with network evaluations × samples done.

        Raises:
          UserError: the model knows no such tag or vector, known tokens or the overlap do not fit,
            the devices do not divide the length, or scores are not finite.
          ValueError: a number is out of range, or there is no such sampler, schedule or time.
        """
        _require_integer("num_samples", num_samples, 0)
        _require_integer("sweeps", sweeps, 1)
        given = None
        if known is not None or is_known is not None:
            given = make_known(
                known, is_known, num_samples, self.codec["codebook_size"], time=time, sweeps=sweeps
            )
            if length not in (None, given.length):
                raise UserError(f"length is {length}, the known tokens have {given.length}")
            length = given.length
        _require_integer("seed", seed, 0, 2**32 - 1)
        for name, value, low in (
            ("steps", steps, 1),
            ("length", length, 1),
            ("overlap", overlap, 0),
            ("top_k", top_k, 1),
        ):
            if value is not None:
                _require_integer(name, value, low)
        if not 0 < temperature < math.inf:
            raise ValueError(f"temperature is {temperature}: a finite number above 0 is needed")
        if not 0 < top_p <= 1:
            raise ValueError(f"top_p is {top_p}: a number above 0, 1 at most, is needed")
        sampling = settle(
            self.definition,
            seed=seed,
            sampler=sampler,
            schedule=schedule,
            strength=strength,
            steps=steps,
            length=length,
            overlap=overlap,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
        )
        if not 0 <= guidance < math.inf:
            raise ValueError(f"guidance is {guidance}: a finite number of at least 0 is needed")
        if batch_size is not None:
            _require_integer("batch_size", batch_size, 1)
        vocabulary = self.definition.vocabulary
        vectors_N = vocabulary.require_vectors(vectors or {}, num_samples)
        if not vocabulary and (tags or guidance != 1):
            raise UserError("the model knows no tags: it was trained without")
        guide = None
        if vocabulary:
            guide = make_guide(vocabulary, [tags] * num_samples, vectors_N, weight=guidance)
        batches = generate(
            self.definition,
            self.params,
            sampling,
            np.arange(num_samples),
            guide=guide,
            known=given,
            batch_size=batch_size or self.definition.config.sampling.batch_size,
            on_steps=progress or (lambda num_sample_steps: None),
        )
        samples_NxL = np.zeros((num_samples, sampling.length), np.uint16)
        for index_b, tokens_bxL in batches:
            samples_NxL[index_b] = tokens_bxL
        return samples_NxL

    def log_score(self, tokens: np.ndarray, sigma: float | np.ndarray) -> jax.Array:
        """Log-scores (N, L, V) float32 of noisy sequences; 0 at the token that is there.

        The score of a token is the ratio of its probability to that of the present one, both under
        the noise (Lou, Meng & Ermon 2024, arXiv 2310.16834, eq. 4).

        Args:
          tokens: (N, L) or (L,) integers, then N is 1. An absorbing model's mask is `num_codes`.
          sigma: total noise, of all or (N,), from 1e-30 to 87: scores are float32.

        Raises:
          UserError: the model has no such tokens, or sigma does not fit.
        """
        tokens_NxL = self._check(tokens, self.definition.graph.vocab_size)
        sigma_N = np.asarray(sigma)
        if sigma_N.shape not in ((), (1,), (len(tokens_NxL),)) or sigma_N.dtype.kind not in "iuf":
            raise UserError(
                f"sigma must be a number or one a sequence, ({len(tokens_NxL)},), not "
                f"{sigma_N.dtype} {sigma_N.shape}"
            )
        sigma_N = np.broadcast_to(sigma_N.astype(np.float32), len(tokens_NxL))
        if not ((sigma_N >= LEAST_SIGMA) & (sigma_N <= MAX_SIGMA)).all():
            raise UserError(f"sigma is {sigma}: it must be from {LEAST_SIGMA:g} to {MAX_SIGMA:g}")
        # The mesh divides the rows: some are repeated to fill it.
        rows = mesh_lib.divisible(self.definition.mesh, len(tokens_NxL))
        filled_RxL = np.resize(tokens_NxL, (rows, tokens_NxL.shape[1]))
        scores = self._jit_log_score(self.params, filled_RxL, np.resize(sigma_N, rows))
        return scores[: len(tokens_NxL)]

    def bits_per_token(
        self,
        tokens: np.ndarray,
        *,
        is_known: np.ndarray | None = None,
        tags: Sequence[str] = (),
        vectors: Mapping[str, np.ndarray] | None = None,
        num_levels: int = 4,
        batch_size: int | None = None,
    ) -> Estimate:
        """An upper bound on −log₂ p per token of (N, L) or (L,) tokens, by noise levels drawn.

        Of an autoregressive model −log₂ p itself, which takes no noise levels.
        With `is_known`, that of the other tokens given the known ones (absorbing models only),
        drawn in any order (sedd_jax/diffusion/any_order.py).

        `mean ± half_width` is the 95% interval over the sequences, taken for independent; with one
        sequence there is none. The noise of a sequence is keyed by its place alone.

        Args:
          is_known: bool, of the tokens' shape; at least one token of a sequence is not.
          tags: of all sequences, told to the model; vectors: likewise, (W,) or (N, W).
          num_levels: noise levels per sequence; without `is_known` one evaluation more.

        Raises:
          UserError: the model has no such tokens, tags or vectors, or no mask where some tokens are
            known; is_known does not fit.
          ValueError: a number is out of range.
        """
        _require_integer("num_levels", num_levels, 1)
        if batch_size is not None:
            _require_integer("batch_size", batch_size, 1)
        tokens_NxL = self._check(tokens, self.num_codes)
        num, length = tokens_NxL.shape
        vocabulary = self.definition.vocabulary
        tags = vocabulary.require(tags)
        vectors_N = tuple(vocabulary.require_vectors(vectors or {}, num))
        batch_size = batch_size or self.definition.config.sampling.batch_size
        if is_known is not None:
            is_known_NxL = _require_known(is_known, tokens_NxL.shape)
            nats_N = infill_nats(
                self.definition,
                self.params,
                tokens_NxL,
                ~is_known_NxL,
                is_known_NxL,
                num_levels=num_levels,
                batch_size=batch_size,
                condition_N=vocabulary.condition([tags] * num, vectors_B=vectors_N),
            )
            return per_token(nats_N / math.log(2), (~is_known_NxL).sum(-1), np.arange(num))
        windows = SplitWindows(
            tokens_WxL=tokens_NxL.astype(np.uint16),
            track_W=np.arange(num),
            part_W=np.zeros(num, np.int64),
            new_W=np.full(num, length),
            ids=tuple(map(str, range(num))),
            artists=(None,) * num,
            tags=(tags,) * num,
            vectors=vectors_N,
        )
        measured = cost.of_windows(
            self.definition, self.params, windows, num_levels=num_levels, batch_size=batch_size
        )
        return per_token(measured.nats_W / math.log(2), windows.counted_W, windows.artist_W)

    @functools.cached_property
    def _jit_log_score(self):
        return jax.jit(
            self.definition.log_score, out_shardings=mesh_lib.replicated(self.definition.mesh)
        )

    def _check(self, tokens: np.ndarray, limit: int) -> np.ndarray:
        """(N, L) int32 of (N, L) or (L,) tokens below `limit`. Raises UserError."""
        try:
            tokens = np.asarray(tokens)
        except ValueError as error:  # rows of different lengths
            raise UserError("tokens must have shape (L,) or (N, L): the rows differ") from error
        if tokens.ndim not in (1, 2) or not tokens.size or tokens.dtype.kind not in "iu":
            raise UserError(
                f"tokens must be integers of shape (L,) or (N, L), not {tokens.dtype} "
                f"{tokens.shape}"
            )
        if tokens.min() < 0 or tokens.max() >= limit:
            raise UserError(
                f"tokens go from {tokens.min()} to {tokens.max()}, the model's from 0 to "
                f"{limit - 1}"
            )
        return np.atleast_2d(tokens).astype(np.int32)


def _require_known(is_known: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask of known tokens, (N, L) bool, some of each row unknown. Raises UserError."""
    try:
        is_known_NxL = np.atleast_2d(np.asarray(is_known))
    except ValueError as error:  # rows of different lengths
        raise UserError(f"is_known must be bool of the tokens' shape {shape}") from error
    if is_known_NxL.dtype != bool or is_known_NxL.shape != shape:
        raise UserError(
            f"is_known must be bool of the tokens' shape {shape}, not {is_known_NxL.dtype} "
            f"{is_known_NxL.shape}"
        )
    if is_known_NxL.all(-1).any():
        raise UserError("a sequence of known tokens alone has nothing to be measured")
    return is_known_NxL


def _require_integer(name: str, value: int, low: int, high: float = math.inf) -> None:
    """Raises ValueError for a value that is no integer within the bounds, both included."""
    if not isinstance(value, numbers.Integral) or not low <= value <= high:
        bounds = f"of at least {low}" if high == math.inf else f"from {low} to {high}"
        raise ValueError(f"{name} is {value!r}: an integer {bounds} is needed")
