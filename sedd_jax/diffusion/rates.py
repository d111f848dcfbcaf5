"""Samplers whose steps go from time to time: every position jumps on its own, at rates.

Source: Lou, Meng & Ermon (2024), arXiv 2310.16834, section 4, Algorithm 2.

- "euler" (eq. 17): every position jumps at the reverse rates of the step's start;
- "analytic" (Tweedie tau-leaping, eq. 18 to 20): every position is drawn from its exact posterior,
  as far as the scores at the step's start tell it.

For the absorbing graph with log-linear noise, the defaults, the two are one and the same: there
expm1(sigma(t) - sigma(t - dt)) = dt dsigma(t), which is all that tells them apart (a step unmasks a
masked token with probability dt / t in both). They differ for geometric noise or the uniform graph.

- "trapezoidal" (θ-trapezoidal: Ren et al. 2025, arXiv 2502.00234, Algorithm 2, θ = 1/2): a leap
  through θ of the step at the rates of its start, to x*, and from there a leap through the rest at
  rates that lead x* to where the mean rate of the step would have: with a = 1 / 2θ and
  b = ((1 - θ)² + θ²) / 2θ, a times those at x* less b times those at the start. Two evaluations,
  and an error of second order in the step, as long as no rate falls below b / a = 1/2 of what it
  was, from where on the difference is taken for 0. Under the absorbing graph the clock is the
  logarithm of the masked share, by which every masked position turns at the same constant rate;
  under the uniform graph it is the noise. A position that has jumped in the first leap has no rates
  at the start to be taken off, which a second jump of it needs to be of second order as well.

Letters: B rows, L length, V vocabulary (with the mask, where there is one).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.choices import SAMPLERS
from sedd_jax.diffusion.jump import JumpLaw, ReverseStep, fold_in_rows, make_step
from sedd_jax.diffusion.process import Drawn, Process
from sedd_jax.diffusion.schedule import Steps

THETA = 0.5  # of "trapezoidal", for which its second leap subtracts least


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
        if name == "trapezoidal":
            first, second = leaps(process, x_BxL, t, dt)
            middle = process.draw(first, fold_in_rows(key_B, 0))
            end = process.draw(second(middle.x_BxL), fold_in_rows(key_B, 1))
            return Drawn(end.x_BxL, middle.is_defined_B & end.is_defined_B)
        return process.draw(reverse_step(name, process, x_BxL, t, dt), key_B)

    key_now_B = fold_in_rows(key_B, 1 + index)
    if process.known is None:
        return draw(key_now_B, x_BxL)
    sweep_key_B = fold_in_rows(known_keys(key_B, steps), index)
    return _draw_given(process, draw, key_now_B, sweep_key_B, x_BxL, t, dt)


def reverse_step(
    name: str, process: Process, x_BxL: jax.Array, t: jax.Array | float, dt: jax.Array | float
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


def leaps(
    process: Process, x_BxL: jax.Array, t: jax.Array | float, dt: jax.Array | float
) -> tuple[ReverseStep, Callable[[jax.Array], ReverseStep]]:
    """The leaps of "trapezoidal" from x at t to t - dt: the first, and the second given its end.

    Each evaluates the network once, the second where it is called.
    """
    graph, noise = process.graph, process.noise
    start_B, end_B = (noise(jnp.full(x_BxL.shape[0], time)).sigma for time in (t, t - dt))
    if graph.mask_id is None:
        duration_B = start_B - end_B
        middle_B = start_B - THETA * duration_B
        clock_B = [jnp.full_like(start_B, 1 / graph.vocab_size)] * 2
    else:
        # Scores are p / expm1(sigma), and the masked share is 1 - exp(-sigma).
        clock_start_B, clock_end_B = _complement(start_B), _complement(end_B)
        duration_B = clock_end_B - clock_start_B
        middle_B = _complement(clock_start_B + THETA * duration_B)
        clock_B = [jnp.expm1(start_B), jnp.expm1(middle_B)]

    def log_rates(x_BxL, sigma_B, time, factor_B):
        """Log-rates of all targets by the clock, times the duration, (B, L, V)."""
        law_fn, nothing_B = graph.euler_law, jnp.zeros_like(sigma_B)
        step = process.reverse_step(x_BxL, sigma_B, time, law_fn, nothing_B, is_posterior=False)
        return step.log_score_BxLxV + jnp.log(factor_B * duration_B)[:, None, None]

    log_start_BxLxV = log_rates(x_BxL, start_B, t, clock_B[0])

    def second(middle_BxL: jax.Array) -> ReverseStep:
        middle_t = noise.time_of(middle_B[0])
        log_middle_BxLxV = log_rates(middle_BxL, middle_B, middle_t, clock_B[1])
        is_same_BxLx1 = (middle_BxL == x_BxL)[..., None]
        taken_off_BxLx1 = jnp.where(is_same_BxLx1, (1 - THETA) ** 2 + THETA**2, 0.0)
        rate_BxLxV = jnp.exp(log_middle_BxLxV) - taken_off_BxLx1 * jnp.exp(log_start_BxLxV)
        log_rate_BxLxV = jnp.log(jnp.maximum(rate_BxLxV, 0.0)) - math.log(2 * THETA)
        return _leap(process, middle_BxL, log_rate_BxLxV)

    return _leap(process, x_BxL, log_start_BxLxV + math.log(THETA)), second


def _complement(sigma_B: jax.Array) -> jax.Array:
    """-log(1 - exp(-sigma)), from the noise to minus the logarithm of the masked share, and back.

    The share itself would be 1 in fp32 from sigma = 17 on.
    """
    of_small_B, of_large_B = jnp.log(-jnp.expm1(-sigma_B)), jnp.log1p(-jnp.exp(-sigma_B))
    return -jnp.where(sigma_B < math.log(2), of_small_B, of_large_B)


def _leap(process: Process, x_BxL: jax.Array, log_rate_BxLxV: jax.Array) -> ReverseStep:
    """The first jump, if there is one, of a time 1 at rates exp(log_rate) that stay as they are."""

    def law_fn(x_BxL, sum_BxL, _):
        can_jump_BxL = True if process.graph.mask_id is None else x_BxL == process.graph.mask_id
        gain_BxL = -jnp.expm1(-sum_BxL) / jnp.where(sum_BxL > 0, sum_BxL, 1.0)
        gain_BxL = jnp.where(can_jump_BxL, gain_BxL, 0.0)
        return JumpLaw(jnp.where(can_jump_BxL, jnp.exp(-sum_BxL), 1.0), gain_BxL)

    return make_step(law_fn, x_BxL, log_rate_BxLxV, jnp.zeros(x_BxL.shape[0]))


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
    t: jax.Array | float,
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
