"""Samplers whose steps go from time to time: every position jumps on its own, at rates.

Source: Lou, Meng & Ermon (2024), arXiv 2310.16834, section 4, Algorithm 2.

- "euler" (eq. 17): every position jumps at the reverse rates of the step's start;
- "analytic" (Tweedie tau-leaping, eq. 18 to 20): every position is drawn from its exact posterior,
  as far as the scores at the step's start tell it.

For the absorbing graph with log-linear noise, the defaults, the two are one and the same: there
expm1(sigma(t) - sigma(t - dt)) = dt dsigma(t), which is all that tells them apart (a step unmasks a
masked token with probability dt / t in both). They differ for geometric noise or the uniform graph.

Letters: B rows, L length.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.choices import SAMPLERS
from sedd_jax.diffusion.jump import ReverseStep, fold_in_rows
from sedd_jax.diffusion.process import Drawn, Process
from sedd_jax.diffusion.schedule import Steps


def step(
    name: str,
    process: Process,
    steps: Steps,
    key_B: jax.Array,
    x_BxL: jax.Array,
    index: jax.Array | int,
) -> Drawn:
    """x_BxL after step `index`, given x before it, by the sampler called `name`."""
    t, dt = steps.span(process.noise, index)

    def draw(key_B, x_BxL):
        return process.draw(reverse_step(name, process, x_BxL, t, dt), key_B)

    key_now_B = fold_in_rows(key_B, 1 + index)
    if process.known is None:
        return draw(key_now_B, x_BxL)
    sweep_key_B = fold_in_rows(known_keys(key_B, steps), index)
    return _draw_given(process, draw, key_now_B, sweep_key_B, x_BxL, t, dt)


def reverse_step(
    name: str, process: Process, x_BxL: jax.Array, t: jax.Array, dt: jax.Array | float
) -> ReverseStep:
    """The distribution of x at t - dt, given x at t. ValueError for an unknown sampler."""
    graph, noise = process.graph, process.noise
    t_B = jnp.full(x_BxL.shape[0], t)
    sigma_B, dsigma_B = noise(t_B)
    if name == "euler":
        law_fn, removed_B = graph.euler_law, dt * dsigma_B
    elif name == "analytic":
        law_fn, removed_B = graph.tweedie_law, sigma_B - noise(t_B - dt).sigma
    else:
        raise ValueError(f"sampling.sampler must be one of {SAMPLERS}, got {name!r}")
    is_posterior = name == "analytic"
    return process.reverse_step(x_BxL, sigma_B, t, law_fn, removed_B, is_posterior=is_posterior)


def denoise(process: Process, steps: Steps, key_B: jax.Array, x_BxL: jax.Array) -> Drawn:
    """The sample x_BxL: codes only, drawn given x at t = eps, after all the steps.

    Known tokens come back as they were.
    """
    key_now_B = fold_in_rows(key_B, 1 + steps.num)
    known = process.known
    if known is None:
        return process.draw(process.denoiser(x_BxL, steps.eps), key_now_B)
    put_key_B = fold_in_rows(known_keys(key_B, steps), steps.num)
    sigma_B = process.noise(jnp.full(x_BxL.shape[0], steps.eps)).sigma
    x_BxL = known.put(process.graph, put_key_B, x_BxL, sigma_B)
    drawn = process.draw(process.denoiser(x_BxL, steps.eps), key_now_B)
    return drawn._replace(x_BxL=known.restore(drawn.x_BxL))


def known_keys(key_B: jax.Array, steps: Steps) -> jax.Array:
    """The keys of what is drawn for known positions alone: the next after those of the steps."""
    return fold_in_rows(key_B, 2 + steps.num)


def _draw_given(
    process: Process,
    draw_fn: Callable[[jax.Array, jax.Array], Drawn],
    key_B: jax.Array,
    sweep_key_B: jax.Array,
    x_BxL: jax.Array,
    t: jax.Array,
    dt: jax.Array | float,
) -> Drawn:
    """A step from t given the known tokens, taken `known.sweeps` times.

    draw_fn: (key_B, x_BxL) → a draw of the step; key_B: of the last one, sweep_key_B of all else.
    """
    graph, noise, known = process.graph, process.noise, process.known
    assert known is not None
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
