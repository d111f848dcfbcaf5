"""The variational bound over a split of a token dataset.

Letters: B rows of a batch, W windows, L window length, T tracks, S noise levels, K codes.

A split is cut into windows (held_out.py), each measured at noise levels that are stratified over
[0, 1]. The noise of a window is keyed by (seed, record id, window), so that the figure depends on
neither batch nor mesh.

Most of the variance of a plain estimate says nothing about the network: at a small t, few tokens
are masked, how many is chance, and each counts 1 / t times. The same chance moves the estimate for
a model that guesses codes uniformly, whose bound is known to be L log K exactly. So that model is
measured on the very same noise, at no cost in network evaluations, and so much of its error is
subtracted as goes with the network's own (control_variate.py).
"""

import functools
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from sedd_jax.diffusion.bound import bound_terms
from sedd_jax.diffusion.graph import Absorbing, Graph
from sedd_jax.diffusion.loss import LogScoreFn
from sedd_jax.diffusion.noise import Noise
from sedd_jax.likelihood.control_variate import without_shared_error
from sedd_jax.likelihood.held_out import SplitWindows
from sedd_jax.model import ModelDef, Stream
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.parallel.consensus import compile_for_all
from sedd_jax.state import Params
from tokenizer_bridge.token_dataset.vectors import Vectors

NUM_BINS = 10  # of t
NUM_SHARES = 32  # parts of the masked share


def record_hash(record_id: str) -> int:
    """A 32-bit hash of an id, the same everywhere and always."""
    return int.from_bytes(hashlib.blake2b(record_id.encode(), digest_size=4).digest(), "little")


@dataclass(frozen=True)
class SplitBound:
    """The measurement of W windows, float64.

    nats_W: unbiased estimates of the bound on −log p of the tokens that count, the error that a
    uniform guess shares taken off; plain_nats_W: the same as they came. The rest is what the plain
    ones' integral over t was estimated from: S noise levels a window, t_WxS in [0, 1], and the
    integrand there in nats a window, integrand_WxS, whose mean is the integral.
    """

    nats_W: np.ndarray
    plain_nats_W: np.ndarray
    t_WxS: np.ndarray
    integrand_WxS: np.ndarray


def split_bound(
    run: ModelDef,
    params: Params,
    windows: SplitWindows,
    *,
    num_levels: int,
    batch_size: int,
    tags_T: Sequence[Sequence[str]] | None = None,
    vectors_T: Sequence[Vectors] | None = None,
    on_windows: Callable[[int], None] = lambda num_windows: None,
) -> SplitBound:
    """Measures the bound on −log p of every window.

    Args:
      num_levels: noise levels per window; it takes one network evaluation more than that.
      batch_size: windows at a time; rounded up to what the mesh divides.
      tags_T, vectors_T: what a conditional model is told of every track, its own by default.
      on_windows: called with the number of windows just measured, W in all.
    """
    num_windows = len(windows)
    batch_size = mesh_lib.divisible(run.mesh, min(batch_size, num_windows))
    measure = _make_measure(run, num_levels)
    condition_T = run.vocabulary.condition(
        windows.tags if tags_T is None else tags_T,
        vectors_B=windows.vectors if vectors_T is None else vectors_T,
    )
    hash_T = np.array([record_hash(record_id) for record_id in windows.ids], np.uint32)

    hash_W, part_W = hash_T[windows.track_W], windows.part_W.astype(np.uint32)
    condition_W = jax.tree.map(lambda values_T: values_T[windows.track_W], condition_T)
    # A code that the model does not know is the mask, which no noise changes.
    tokens_WxL = np.minimum(windows.tokens_WxL, np.uint16(min(run.graph.num_codes, 2**16 - 1)))
    values_W = (tokens_WxL, hash_W, part_W, windows.counts_WxL, condition_W)
    sharding, rows_B = mesh_lib.batch_sharding(run.mesh), np.arange(batch_size)

    def place(values_W: np.ndarray, window_B: np.ndarray) -> jax.Array:
        values_B = values_W[window_B]
        if values_B.dtype not in (np.uint32, np.float32):
            values_B = values_B.astype(np.int32)
        return mesh_lib.place_rows(sharding, values_B.shape, rows_B, values_B)

    batches = []
    for first in range(0, num_windows, batch_size):
        window_B = np.arange(first, first + batch_size) % num_windows  # wraps to fill the last one
        arguments = jax.tree.map(functools.partial(place, window_B=window_B), values_W)
        if first == 0:
            compile_for_all(measure, params, *arguments)
        measured = jax.device_get(measure(params, *arguments))
        num_new = min(batch_size, num_windows - first)
        batches.append([values[:num_new].astype(np.float64) for values in measured])
        on_windows(num_new)
    nats_W, error_W, t_WxS, integrand_WxS = map(np.concatenate, zip(*batches, strict=True))
    # Windows with equal keys have equal noise, in whatever order they stand.
    key_W = (hash_W.astype(np.uint64) << np.uint64(32)) | part_W
    corrected_W = without_shared_error(nats_W, error_W, windows.counted_W, key_W)
    return SplitBound(corrected_W, nats_W, t_WxS, integrand_WxS)


@functools.lru_cache(maxsize=8)
def _make_measure(run: ModelDef, num_levels: int) -> Callable[..., tuple[jax.Array, ...]]:
    """The compiled bound of a batch of windows.

    Nats (B,), the error of a uniform guess on the same noise (B,), t and integrand (B, S), all
    whole on every device.
    """

    @functools.partial(jax.jit, out_shardings=mesh_lib.replicated(run.mesh))
    def measure(params, x0_BxL, hash_B, part_B, counts_BxL, condition):
        fold_in = jax.vmap(jax.random.fold_in)
        key_B = jnp.broadcast_to(run.stream_key(Stream.EVALUATE), hash_B.shape)
        key_B = fold_in(fold_in(key_B, hash_B), part_B)

        counts_BxL = counts_BxL.astype(bool)

        def terms(log_score_fn):
            return bound_terms(
                log_score_fn,
                run.graph,
                run.noise,
                x0_BxL,
                key_B,
                num_t=num_levels,
                counts_BxL=counts_BxL,
            )

        guess_nats_B = counts_BxL.sum(-1) * math.log(run.graph.num_codes)
        error_B = terms(uniform_guess(run.graph)).total_B - guess_nats_B
        model = terms(functools.partial(run.log_score, params, condition=condition))
        return model.total_B, error_B, model.t_BxS, model.integrand_BxS

    return measure


def bits_by_masked_share(
    bound: SplitBound, counted_W: np.ndarray, noise: Noise
) -> list[float | None]:
    """The bits that a masked token costs an absorbing model, by the share that is masked.

    The means of NUM_SHARES equal parts of the share, from the lowest; None for one that nothing was
    measured in.
    """
    t_WxS = jnp.asarray(bound.t_WxS, jnp.float32)
    last_sigma = noise(jnp.ones(())).sigma
    masked_WxS = np.asarray(jnp.expm1(-noise(t_WxS).sigma) / jnp.expm1(-last_sigma))
    sigma_WxS, rate_WxS = map(np.asarray, noise(t_WxS))
    # The integrand is over t, a masked token's cost over the share.
    growth_WxS = rate_WxS * np.exp(-sigma_WxS) / -np.expm1(-float(last_sigma))
    part_WxS = np.minimum(masked_WxS * NUM_SHARES, NUM_SHARES - 1).astype(int)
    bits = np.bincount(part_WxS.ravel(), bound.integrand_WxS.ravel() / math.log(2), NUM_SHARES)
    weight_WxS = counted_W[:, None] * growth_WxS
    weight = np.bincount(part_WxS.ravel(), weight_WxS.ravel(), NUM_SHARES)
    return [float(b / w) if w else None for b, w in zip(bits, weight, strict=True)]


def uniform_guess(graph: Graph) -> LogScoreFn:
    """The exact log-scores of sequences of independent, uniform codes.

    A model that has them samples such sequences, so its bound is tight: log K nats a token.
    """

    def log_score_fn(x_BxL, sigma_B):
        log_ratio_B = jnp.zeros_like(sigma_B)  # uniform stays uniform under uniform noise
        if isinstance(graph, Absorbing):
            log_ratio_B = -jnp.log(jnp.expm1(sigma_B)) - math.log(graph.num_codes)
        code_1x1xV = jnp.arange(graph.vocab_size)[None, None, :]
        return jnp.where(code_1x1xV == x_BxL[..., None], 0.0, log_ratio_B[:, None, None])

    return log_score_fn


def bits_by_t(bound: SplitBound, counted_W: np.ndarray) -> dict[str, float]:
    """The parts of t that the bound comes from: bits a token in each of NUM_BINS equal ones.

    "0.0-0.1" → mean integrand of the tokens measured at a t that lies there; parts with none are
    left out. Weighted by their tokens, the means average to the integral part of the bound.
    """
    bin_WxS = np.minimum(bound.t_WxS * NUM_BINS, NUM_BINS - 1).astype(int)
    bits = np.bincount(bin_WxS.ravel(), bound.integrand_WxS.ravel() / math.log(2), NUM_BINS)
    counted_WxS = np.broadcast_to(counted_W[:, None], bin_WxS.shape)
    counted = np.bincount(bin_WxS.ravel(), counted_WxS.ravel(), NUM_BINS)
    return {
        f"{i / NUM_BINS:.1f}-{(i + 1) / NUM_BINS:.1f}": float(bits[i] / counted[i])
        for i in np.unique(bin_WxS)
    }
