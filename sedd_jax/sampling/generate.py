"""Batches of samples: compiled once, sharded over the mesh, a chunk of steps per dispatch.

Letters: B rows of a batch, L length, N samples wanted.

Sample i is a function of (seed, i): its key is fold_in(seed's key, i), and the draws of a row
depend on its key alone. So batch size, mesh and chunks change samples only where a draw lies within
rounding of its threshold.
"""

import functools
import statistics
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import jax
import numpy as np

from sedd_jax.checkpoints.meta import checksums
from sedd_jax.diffusion import sampler
from sedd_jax.diffusion.jump import fold_in_rows
from sedd_jax.diffusion.known import TIMES, Known
from sedd_jax.diffusion.schedule import Schedule
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef, Stream
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.parallel.consensus import compile_for_all
from sedd_jax.sampling import ancestral
from sedd_jax.sampling.guide import Guide, make_log_score_fn
from sedd_jax.sampling.settings import Sampling, traits_of
from sedd_jax.sampling.windows import Pieces
from sedd_jax.state import Params

# So many dispatches per batch at least: how often progress is seen and Ctrl-C is heard.
MIN_DISPATCHES = 32


def chunk_size(steps: int, min_dispatches: int = MIN_DISPATCHES) -> int:
    """Steps per dispatch: a divisor of `steps`, so that one compiled program serves all chunks."""
    return max(d for d in range(1, steps // min_dispatches + 2) if steps % d == 0)


class Pace:
    """The time that a step of one sample takes, compilation left out."""

    def __init__(self):
        self._last = time.perf_counter()
        self._seconds_per_step: list[float] = []

    def add(self, num_sample_steps: int) -> None:
        """Called after each dispatch, with the steps × samples that it did; 0 waits for more."""
        if not num_sample_steps:
            return
        now = time.perf_counter()
        self._seconds_per_step.append((now - self._last) / num_sample_steps)
        self._last = now

    @property
    def seconds_per_step(self) -> float | None:
        """The median over dispatches; None before the first.

        Two dispatches of the first batch compile: the first and the last.
        """
        return statistics.median_low(self._seconds_per_step) if self._seconds_per_step else None


def fingerprint(params: Params) -> str:
    """Eight hexadecimal digits that tell one set of parameters from another, on any mesh."""
    return f"{zlib.crc32(repr(sorted(checksums(params).items())).encode()):08x}"


@dataclass(frozen=True)
class Programs:
    """The compiled parts of sampling a batch.

    key_B holds the keys of its samples; guide is their `Guide`, known their `Known`, draws their
    `Draws`, each or None.
    """

    start: Callable  # (key_B, guide) → x_BxL at t = 1
    # Both return sampler.Drawn; is_defined_B is whole on every device.
    advance: Callable  # (params, key_B, x_BxL, first, num, guide, known, draws) → `num` steps on;
    # it donates x
    finish: Callable  # (params, key_B, x_BxL, guide, known, draws) → tokens, on every device
    # (x_BxL, known) → where masks are left to be drawn, (B,), likewise; None where none can be.
    is_open: Callable | None = None


@functools.lru_cache(maxsize=8)
def make_programs(
    run: ModelDef,
    name: str,
    steps: int,
    length: int,
    schedule: Schedule | None = None,
    strength: float | None = None,
) -> Programs:
    """Programs for a run's graph, network and mesh.

    name: of the sampler; schedule, strength: its own by default.
    """
    if run.is_autoregressive:
        return Programs(*ancestral.make_programs(run, length))
    rows, whole = mesh_lib.batch_sharding(run.mesh), mesh_lib.replicated(run.mesh)

    @functools.partial(jax.jit, out_shardings=rows)
    def start(key_B, guide=None):
        del guide
        return sampler.start(run.graph, key_B, length)

    @functools.partial(
        jax.jit,
        out_shardings=sampler.Drawn(rows, whole),
        donate_argnames="x_BxL",
        static_argnames="num",
    )
    def advance(params, key_B, x_BxL, first, num, guide=None, known=None, draws=None):
        log_score_fn = make_log_score_fn(run, params, guide)
        return sampler.sample_chunk(
            name, run.graph, run.noise, log_score_fn, key_B, x_BxL,
            first=first, num=num, steps=steps, schedule=schedule, strength=strength, known=known,
            draws=draws,
        )  # fmt: skip

    @functools.partial(jax.jit, out_shardings=whole)
    def finish(params, key_B, x_BxL, guide=None, known=None, draws=None):
        log_score_fn = make_log_score_fn(run, params, guide)
        return sampler.finish(
            name, run.graph, run.noise, log_score_fn, key_B, x_BxL,
            steps=steps, known=known, draws=draws,
        )  # fmt: skip

    @functools.partial(jax.jit, out_shardings=whole)
    def is_open(x_BxL, known=None):
        is_masked_BxL = x_BxL == run.graph.mask_id
        return (is_masked_BxL if known is None else is_masked_BxL & ~known.is_known_BxL).any(-1)

    return Programs(start, advance, finish, is_open)


def sample_keys(run: ModelDef, seed: int, index_B: np.ndarray, window: int = 0) -> jax.Array:
    """The keys of a window of samples, (B,), on the run's mesh; seed, index_B < 2**32."""
    # Later windows count from the top: the numbers from 0 up are those of the first one's steps.
    number = np.uint32(2**32 - window) if window else None
    return _key_program(run)(index_B.astype(np.uint32), number, np.uint32(seed))


@functools.lru_cache(maxsize=8)
def _key_program(run: ModelDef) -> Callable:
    @functools.partial(jax.jit, out_shardings=mesh_lib.batch_sharding(run.mesh))
    def keys(index_B, number, seed):
        key = jax.random.fold_in(jax.random.key(seed), Stream.SAMPLE)
        key_B = jax.vmap(functools.partial(jax.random.fold_in, key))(index_B)
        return key_B if number is None else fold_in_rows(key_B, number)

    return keys


class _Account:
    """Tells of the network evaluations that the samples of a batch have had.

    planned_b: the windows of each. All samples count alike, `evaluations`, so that the whole is
    known before anything is planned.
    """

    def __init__(self, on_steps: Callable[[int], None], sampling: Sampling, planned_b: np.ndarray):
        self._on_steps, self._evaluations = on_steps, sampling.evaluations
        self._planned_b = planned_b
        self._of_b = self._planned_b * sampling.evaluations_of_window
        self._done_b, self._told = np.zeros_like(self._of_b), 0

    def add(self, window: int, evaluations: int) -> None:
        """Called after each dispatch."""
        self._done_b += np.where(window < self._planned_b, evaluations, 0)
        done = int((self._done_b * self._evaluations // self._of_b).sum())
        self._on_steps(done - self._told)
        self._told = done


def generate(
    run: ModelDef,
    params: Params,
    sampling: Sampling,
    indices_N: np.ndarray,
    *,
    batch_size: int,
    guide: Guide | None = None,
    known: Known | None = None,
    chunk: int | None = None,
    on_steps: Callable[[int], None] = lambda num_sample_steps: None,
    on_spent: Callable[[np.ndarray], None] = lambda evaluations_b: None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields finished batches: (sample indices (b,), tokens (b, L) uint16), b ≤ batch_size.

    Args:
      indices_N: which samples to make.
      batch_size: rows at a time; rounded up to what the mesh divides, down to what N needs.
      guide: what the samples are to be like, row i for sample i; None: whatever comes.
      known: tokens that the samples have from the start, row i for sample i; a sample where nothing
        is unknown comes first, and costs nothing.
      chunk: steps per dispatch, a divisor of sampling.steps; `chunk_size` by default.
      on_steps: called after each dispatch with evaluations × samples done, N ×
        sampling.evaluations in all.
      on_spent: called before each batch is yielded, where samples may end early, with the network
        evaluations that each has taken, (b,).

    Raises UserError when the mesh does not divide the length, scores cannot be sampled, or an
    autoregressive model is asked for what it cannot do.
    """
    length = sampling.at_once
    if run.is_autoregressive:
        ancestral.require(known)
    mesh_lib.check_model(run.mesh, run.network.num_heads, length)
    if known is not None:
        is_whole_n = np.asarray(known.is_known_BxL)[indices_N].all(axis=1)
        whole_n, indices_N = indices_N[is_whole_n], indices_N[~is_whole_n]
        if len(whole_n):
            on_steps(len(whole_n) * sampling.evaluations)
            yield whole_n, known.tokens_BxL[whole_n].astype(np.uint16)
    if not len(indices_N):
        return
    traits = traits_of(sampling.sampler)
    if known is not None and known.sweeps > 1 and traits.needs_mask:
        raise UserError(f"sweeps are {known.sweeps}: the sampler {sampling.sampler} has none")
    batch_size = mesh_lib.divisible(run.mesh, min(batch_size, len(indices_N)))
    # A chunk's steps are all taken: where a sample may end early, each is a dispatch.
    chunk = chunk or (1 if traits.ends_early else chunk_size(sampling.steps))
    programs = make_programs(
        run, sampling.sampler, sampling.steps, length, sampling.schedule, sampling.strength
    )
    sharding = mesh_lib.batch_sharding(run.mesh)
    is_free = known is None and length == sampling.length
    time, sweeps = (TIMES[0], 1) if known is None else (known.time, known.sweeps)

    def place(values_B: np.ndarray) -> jax.Array:
        return mesh_lib.place_rows(sharding, values_B.shape, np.arange(batch_size), values_B)

    for first in range(0, len(indices_N), batch_size):
        wanted_b = indices_N[first : first + batch_size]
        index_B = np.resize(wanted_b, batch_size)
        guide_B = guide and guide.rows(index_B, place)
        pieces = Pieces(batch_size, sampling.length, length, sampling.shared)
        if known is not None:
            pieces.fill(known.tokens_BxL[index_B], known.is_known_BxL[index_B])
        account = _Account(on_steps, sampling, pieces.windows_B[: len(wanted_b)])
        spent_B = np.zeros(batch_size, np.int64)
        for window in range(pieces.windows_B.max()):
            key_B = sample_keys(run, sampling.seed, index_B, window)
            known_B = None
            if not is_free:
                tokens_BxL, is_known_BxL = map(place, pieces.known(window))
                known_B = Known(tokens_BxL, is_known_BxL, time, sweeps)
            told = (guide_B, known_B, sampling.draws)
            x_BxL = programs.start(key_B, guide_B)
            if first == window == 0:
                compile_for_all(programs.advance, params, key_B, x_BxL, np.int32(0), chunk, *told)
                compile_for_all(programs.finish, params, key_B, x_BxL, *told)
            for step in range(0, sampling.steps, chunk):
                if traits.ends_early and programs.is_open is not None:
                    is_open_B = np.asarray(programs.is_open(x_BxL, known_B))
                    if not is_open_B.any():
                        account.add(window, (sampling.steps - step) * traits.evaluations)
                        break
                    spent_B += chunk * traits.evaluations * is_open_B
                drawn = programs.advance(params, key_B, x_BxL, np.int32(step), chunk, *told)
                x_BxL = _tokens(drawn)
                account.add(window, chunk * traits.evaluations)
            drawn = programs.finish(params, key_B, x_BxL, *told)
            pieces.take(window, np.asarray(_tokens(drawn)))
            account.add(window, int(traits.denoises))
        if traits.ends_early:
            on_spent(spent_B[: len(wanted_b)])
        yield wanted_b, pieces.tokens_BxT[: len(wanted_b)]


def _tokens(drawn: sampler.Drawn) -> jax.Array:
    """The tokens, once they are there. Raises UserError where they were drawn from nothing."""
    if not np.asarray(drawn.is_defined_B).all():
        raise UserError(
            "the network's scores cannot be sampled, because they are not finite or all zero: "
            "choose an earlier checkpoint, or less guidance and smaller vectors where these steer"
        )
    return drawn.x_BxL
