"""Sampling: the reverse process from its limit to data, in steps, then a final denoising step.

Source: Lou, Meng & Ermon (2024), arXiv 2310.16834, section 4, Algorithm 2. Two samplers:

- "euler" (eq. 17): every position jumps on its own at the reverse rates of the step's start;
- "analytic" (Tweedie tau-leaping, eq. 18 to 20): every position is drawn from its exact posterior,
  as far as the scores at the step's start tell it.

For the absorbing graph with log-linear noise, the defaults, the two are one and the same: there
expm1(sigma(t) - sigma(t - dt)) = dt dsigma(t), which is all that tells them apart (a step unmasks a
masked token with probability dt / t in both). They differ for geometric noise or the uniform graph.

Time falls from 1 to eps on an even grid. Steps take the log-scores of one model, or of two of which
one guides the other: a `Guided`. Tokens may be `Known` from the start. All randomness of a row
comes from its own key, so that a sample does not depend on its batch, on the mesh, or on how the
steps are cut into chunks.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.choices import SAMPLERS
from sedd_jax.diffusion.draws import Draws
from sedd_jax.diffusion.graph import Graph
from sedd_jax.diffusion.guidance import Guided
from sedd_jax.diffusion.jump import LawFn, ReverseStep, fold_in_rows, make_step
from sedd_jax.diffusion.known import Known
from sedd_jax.diffusion.loss import LogScoreFn
from sedd_jax.diffusion.noise import Noise


class Drawn(NamedTuple):
    """Tokens, and whether each row was drawn from weights that are finite and not all zero."""

    x_BxL: jax.Array
    is_defined_B: jax.Array


def start(graph: Graph, key_B: jax.Array, length: int) -> jax.Array:
    """x_BxL at t = 1, where sampling with these keys begins."""
    return graph.sample_limit(fold_in_rows(key_B, 0), length)


def step(
    sampler: str,
    graph: Graph,
    noise: Noise,
    log_score_fn: LogScoreFn | Guided,
    key_B: jax.Array,
    x_BxL: jax.Array,
    t: jax.Array,
    dt: jax.Array,
    draws: Draws | None = None,
) -> Drawn:
    """x_BxL at time t - dt, given x at t. ValueError for a sampler not in `SAMPLERS`."""
    return _draw(reverse_step(sampler, graph, noise, log_score_fn, x_BxL, t, dt), key_B, draws)


def reverse_step(
    sampler: str,
    graph: Graph,
    noise: Noise,
    log_score_fn: LogScoreFn | Guided,
    x_BxL: jax.Array,
    t: jax.Array,
    dt: jax.Array,
) -> ReverseStep:
    """The distribution that `step` draws from."""
    t_B = jnp.full(x_BxL.shape[0], t)
    sigma_B, dsigma_B = noise(t_B)
    if sampler == "euler":
        law_fn, removed_B = graph.euler_law, dt * dsigma_B
    elif sampler == "analytic":
        law_fn, removed_B = graph.tweedie_law, sigma_B - noise(t_B - dt).sigma
    else:
        raise ValueError(f"sampling.sampler must be one of {SAMPLERS}, got {sampler!r}")
    is_posterior = sampler == "analytic"
    return _make_step(
        graph, log_score_fn, x_BxL, sigma_B, t, law_fn, removed_B, is_posterior=is_posterior
    )


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
    eps: float = 1e-5,
    known: Known | None = None,
    draws: Draws | None = None,
) -> Drawn:
    """x_BxL after steps first … first + num - 1 of a grid of `steps` from t = 1 to t = eps.

    `first` may be traced, so that chunks of equal length share one compilation. known: tokens that
    the others are drawn given. draws: how narrow draws are.
    """
    dt = (1 - eps) / steps
    if known is not None:
        log_score_fn = known.scores(graph, noise, log_score_fn)
        known_key_B = _known_keys(key_B, steps)

    def body(drawn, index):
        key_now_B = fold_in_rows(key_B, 1 + index)
        t = eps + dt * (steps - index)

        def draw(key_B, x_BxL):
            return step(sampler, graph, noise, log_score_fn, key_B, x_BxL, t, dt, draws)

        if known is None:
            now = draw(key_now_B, drawn.x_BxL)
        else:
            sweep_key_B = fold_in_rows(known_key_B, index)
            now = _draw_given(known, graph, noise, draw, key_now_B, sweep_key_B, drawn.x_BxL, t, dt)
        return Drawn(now.x_BxL, drawn.is_defined_B & now.is_defined_B), None

    drawn = Drawn(x_BxL, jnp.ones(x_BxL.shape[0], bool))
    return jax.lax.scan(body, drawn, first + jnp.arange(num))[0]


def denoise_step(
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
    """The sample x_BxL: codes only, drawn given x at t = eps, after all the `steps`.

    Known tokens come back as they were.
    """
    key_now_B = fold_in_rows(key_B, 1 + steps)
    if known is None:
        return _draw(denoiser(graph, noise, log_score_fn, x_BxL, eps), key_now_B, draws)
    log_score_fn = known.scores(graph, noise, log_score_fn)
    put_key_B = fold_in_rows(_known_keys(key_B, steps), steps)
    x_BxL = known.put(graph, put_key_B, x_BxL, noise(jnp.full(x_BxL.shape[0], eps)).sigma)
    drawn = _draw(denoiser(graph, noise, log_score_fn, x_BxL, eps), key_now_B, draws)
    return drawn._replace(x_BxL=known.restore(drawn.x_BxL))


def denoiser(
    graph: Graph, noise: Noise, log_score_fn: LogScoreFn | Guided, x_BxL: jax.Array, eps: float
) -> ReverseStep:
    """The distribution of the final step from x at t = eps to data."""
    sigma_B = noise(jnp.full(x_BxL.shape[0], eps)).sigma
    law_fn = graph.denoise_law
    return _make_step(graph, log_score_fn, x_BxL, sigma_B, eps, law_fn, sigma_B, is_posterior=True)


def _make_step(
    graph: Graph,
    log_score_fn: LogScoreFn | Guided,
    x_BxL: jax.Array,
    sigma_B: jax.Array,
    t: jax.Array,
    law_fn: LawFn,
    removed_B: jax.Array,
    *,
    is_posterior: bool,
) -> ReverseStep:
    if isinstance(log_score_fn, Guided):
        return log_score_fn.reverse_step(
            graph, x_BxL, sigma_B, t, law_fn, removed_B, is_posterior=is_posterior
        )
    return make_step(law_fn, x_BxL, log_score_fn(x_BxL, sigma_B), removed_B)


def _draw(reverse_step: ReverseStep, key_B: jax.Array, draws: Draws | None) -> Drawn:
    if draws is not None:
        reverse_step = draws.narrow(reverse_step)
    return Drawn(reverse_step.draw(key_B), reverse_step.is_defined().all(axis=-1))


def _known_keys(key_B: jax.Array, steps: int) -> jax.Array:
    """The keys of what is drawn for known positions alone: the next after those of the steps."""
    return fold_in_rows(key_B, 2 + steps)


def _draw_given(
    known: Known,
    graph: Graph,
    noise: Noise,
    draw_fn: Callable[[jax.Array, jax.Array], Drawn],
    key_B: jax.Array,
    sweep_key_B: jax.Array,
    x_BxL: jax.Array,
    t: jax.Array,
    dt: jax.Array,
) -> Drawn:
    """A step from t given the known tokens, taken `known.sweeps` times.

    draw_fn: (key_B, x_BxL) → a draw of the step; key_B: of the last one, sweep_key_B of all else.
    """
    t_B = jnp.full(x_BxL.shape[0], t)
    sigma_B = noise(t_B).sigma
    removed_B = sigma_B - noise(t_B - dt).sigma

    def put(sweep, x_BxL):
        return known.put(graph, fold_in_rows(sweep_key_B, 3 * sweep), x_BxL, sigma_B)

    def there_and_back(sweep, drawn):
        there = draw_fn(fold_in_rows(sweep_key_B, 3 * sweep + 1), put(sweep, drawn.x_BxL))
        back_key_B = fold_in_rows(sweep_key_B, 3 * sweep + 2)
        back_BxL = graph.perturb(back_key_B, there.x_BxL, removed_B)
        return Drawn(back_BxL, drawn.is_defined_B & there.is_defined_B)

    drawn = Drawn(x_BxL, jnp.ones(x_BxL.shape[0], bool))
    drawn = jax.lax.fori_loop(0, known.sweeps - 1, there_and_back, drawn)
    now = draw_fn(key_B, put(known.sweeps - 1, drawn.x_BxL))
    return Drawn(now.x_BxL, drawn.is_defined_B & now.is_defined_B)
