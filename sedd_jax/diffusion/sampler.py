"""Sampling: the reverse process from its limit to data, in steps.

A sampler is a pure function of x, the keys of its rows, and where the step lies in the schedule:
`step(process, steps, key_B, x_BxL, index) -> Drawn`. Known positions, guidance and narrow draws are
the process's (process.py) and the same for all samplers:

- rates.py: "euler", "analytic", "trapezoidal", whose steps go from time to time, on both graphs;
- orders.py: "spread", "first_hitting", "confidence", "entropy", "remask", which choose the masked
  positions that they draw.

All randomness of a row comes from its own key, so that a sample does not depend on its batch, on
the mesh, or on how the steps are cut into chunks. A row's key is folded with 0 for the start, with
1 + index for step `index`, 1 + S for the final draw, and 2 + S for what holds for all S steps.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sedd_jax.diffusion import orders, rates
from sedd_jax.diffusion.choices import TRAITS
from sedd_jax.diffusion.draws import Draws
from sedd_jax.diffusion.graph import Graph
from sedd_jax.diffusion.guidance import Guided
from sedd_jax.diffusion.jump import fold_in_rows
from sedd_jax.diffusion.known import Known
from sedd_jax.diffusion.loss import LogScoreFn
from sedd_jax.diffusion.noise import Noise
from sedd_jax.diffusion.process import Drawn, Process
from sedd_jax.diffusion.schedule import Schedule, Steps

StepFn = Callable[[Process, Steps, jax.Array, jax.Array, jax.Array], Drawn]
_STEPS: dict[str, StepFn] = {
    "euler": functools.partial(rates.step, "euler"),
    "analytic": functools.partial(rates.step, "analytic"),
    "trapezoidal": functools.partial(rates.step, "trapezoidal"),
    "spread": orders.spread,
    "first_hitting": orders.first_hitting,
    "confidence": orders.confidence,
    "entropy": orders.entropy,
    "remask": orders.remask,
}


def start(graph: Graph, key_B: jax.Array, length: int) -> jax.Array:
    """x_BxL at t = 1, where sampling with these keys begins."""
    return graph.sample_limit(fold_in_rows(key_B, 0), length)


def sample_chunk(
    sampler: str,
    graph: Graph,
    noise: Noise,
    log_score_fn: LogScoreFn | Guided,
    key_B: jax.Array,
    x_BxL: jax.Array,
    *,
    first: jax.Array,
    num: int,
    steps: int,
    schedule: Schedule | None = None,
    strength: float | None = None,
    eps: float = 1e-5,
    known: Known | None = None,
    draws: Draws | None = None,
) -> Drawn:
    """x_BxL after steps first … first + num - 1 of `steps` from noise to data.

    `first` may be traced, so that chunks of equal length share one compilation. schedule,
    strength: the sampler's own by default. eps: the time at which steps that go from time to time
    end. known: tokens that the others are drawn given. draws: how narrow draws are.

    Raises ValueError for an unknown sampler or schedule, and a graph that the sampler is not for.
    """
    process = _process(sampler, graph, noise, log_score_fn, known, draws)
    grid = _steps(sampler, steps, schedule, strength, eps)

    def body(drawn, index):
        now = _STEPS[sampler](process, grid, key_B, drawn.x_BxL, index)
        return Drawn(now.x_BxL, drawn.is_defined_B & now.is_defined_B), None

    drawn = Drawn(x_BxL, jnp.ones(x_BxL.shape[0], bool))
    return jax.lax.scan(body, drawn, first + jnp.arange(num))[0]


def finish(
    sampler: str,
    graph: Graph,
    noise: Noise,
    log_score_fn: LogScoreFn | Guided,
    key_B: jax.Array,
    x_BxL: jax.Array,
    *,
    steps: int,
    eps: float = 1e-5,
    known: Known | None = None,
    draws: Draws | None = None,
) -> Drawn:
    """The sample x_BxL after all the steps: codes only, known tokens as they were.

    Steps that go from time to time leave something to a final draw given x at t = eps, with one
    evaluation; the others leave nothing.
    """
    process = _process(sampler, graph, noise, log_score_fn, known, draws)
    if TRAITS[sampler].denoises:
        return rates.denoise(process, _steps(sampler, steps, eps=eps), key_B, x_BxL)
    return Drawn(x_BxL if known is None else known.restore(x_BxL), jnp.ones(x_BxL.shape[0], bool))


def _process(
    sampler: str,
    graph: Graph,
    noise: Noise,
    log_score_fn: LogScoreFn | Guided,
    known: Known | None,
    draws: Draws | None,
) -> Process:
    if sampler not in TRAITS:
        raise ValueError(f"sampling.sampler must be one of {tuple(TRAITS)}, got {sampler!r}")
    if TRAITS[sampler].needs_mask and graph.mask_id is None:
        raise ValueError(f"the sampler {sampler} draws masked positions: this graph has no mask")
    if known is not None and not TRAITS[sampler].needs_mask:
        log_score_fn = known.scores(graph, noise, log_score_fn)
    return Process(graph, noise, log_score_fn, draws, known)


def _steps(
    sampler: str,
    num: int,
    schedule: Schedule | None = None,
    strength: float | None = None,
    eps: float = 1e-5,
) -> Steps:
    traits = TRAITS[sampler]
    strength = traits.strength if strength is None else strength
    return Steps(num, schedule or traits.schedule, eps, strength or 0.0)
