"""Guidance: sampling from a conditional model, further away from another one than it is itself.

Source: classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598) for discrete diffusion. With
weight w, c the conditional model and o the other (told nothing, or what is to be avoided):

- absorbing, all samplers: the code that a mask turns into is drawn from p_c^w p_o^(1-w) over the
  codes, renormalised, p being the softmax of the log-scores. When it turns stays the affair of the
  conditional model: its sum of scores is kept, because the bare product of rates unmasks too early
  (arXiv 2507.08965). Below w = 1 the sum goes from one model's to the other's in geometric
  proportion, so that w = 0 is the other model and w = 1 the conditional one.
- uniform, analytic sampler and final step: the posterior of the step, "stay" included, is
  q_c^w q_o^(1-w), renormalised (UDLM: Schiff et al. 2024, arXiv 2412.10193).
- uniform, Euler and trapezoidal samplers: rates are s_c^w s_o^(1-w), which the former tends to as
  steps grow.

Letters: B batch, L length, V vocabulary (with the mask, where there is one).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sedd_jax.diffusion.choices import SCHEDULES
from sedd_jax.diffusion.graph import Absorbing, Graph
from sedd_jax.diffusion.jump import JumpLaw, LawFn, ReverseStep, make_step

# (x_BxL, sigma_B) -> log_score_BxLxV of the conditional model and of the other one.
PairFn = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]


def weight_at(schedule: str, weight: jax.Array | np.floating, t: jax.Array | float) -> jax.Array:
    """The weight at time t, [].

    It is "constant", or "rising" from 1 at t = 1, where sampling starts, to `weight` at t = 0, or
    "falling" from `weight` to 1. ValueError for another schedule.
    """
    weight = jnp.asarray(weight)
    if schedule == "constant":
        return jnp.broadcast_to(weight, jnp.shape(t))
    if schedule == "rising":
        return 1 + (weight - 1) * (1 - t)
    if schedule == "falling":
        return 1 + (weight - 1) * t
    raise ValueError(f"schedule must be one of {SCHEDULES}, got {schedule!r}")


@dataclasses.dataclass(frozen=True)
class Guided:
    """Two models in the place of a log-score function. weight_fn: time t → w, both []."""

    pair_fn: PairFn
    weight_fn: Callable[[jax.Array | float], jax.Array]

    def reverse_step(
        self,
        graph: Graph,
        x_BxL: jax.Array,
        sigma_B: jax.Array,
        t: jax.Array | float,
        law_fn: LawFn,
        removed_B: jax.Array,
        *,
        is_posterior: bool,
    ) -> ReverseStep:
        """The guided step from x at t, where the noise is sigma_B, through the noise removed_B.

        law_fn: the law of an unguided one; is_posterior: whether that is a posterior or one at
        constant rates.
        """
        conditional_BxLxV, other_BxLxV = self.pair_fn(x_BxL, sigma_B)
        weight = self.weight_fn(t)
        if isinstance(graph, Absorbing):
            log_score_BxLxV = mix_codes(
                graph.mask_id, x_BxL, conditional_BxLxV, other_BxLxV, weight
            )
            return make_step(law_fn, x_BxL, log_score_BxLxV, removed_B)
        if is_posterior:
            conditional, other = (
                make_step(law_fn, x_BxL, log_score_BxLxV, removed_B)
                for log_score_BxLxV in (conditional_BxLxV, other_BxLxV)
            )
            return mix_steps(conditional, other, weight)
        log_score_BxLxV = weight * conditional_BxLxV + (1 - weight) * other_BxLxV
        return make_step(law_fn, x_BxL, log_score_BxLxV, removed_B)


def mix_codes(
    mask_id: int,
    x_BxL: jax.Array,
    conditional_BxLxV: jax.Array,
    other_BxLxV: jax.Array,
    weight: jax.Array,
) -> jax.Array:
    """Log-scores (B, L, V) of p_c^w p_o^(1-w) over the codes, with the sum of scores kept."""
    code_V = jnp.arange(conditional_BxLxV.shape[-1])[None, None]
    # Added and not selected: exponential and sum are then one pass on a CPU (see score_sums.py).
    no_mask_V = jnp.where(code_V == mask_id, -jnp.inf, 0.0)

    def log_sum(log_score_BxLxV):
        return jax.nn.logsumexp(log_score_BxLxV + no_mask_V, axis=-1, keepdims=True)

    mixed_BxLxV = weight * conditional_BxLxV + (1 - weight) * other_BxLxV
    kept = jnp.clip(weight, 0.0, 1.0)
    sum_BxLx1 = kept * log_sum(conditional_BxLxV) + (1 - kept) * log_sum(other_BxLxV)
    mixed_BxLxV = mixed_BxLxV + (sum_BxLx1 - log_sum(mixed_BxLxV))
    return jnp.where(code_V == x_BxL[..., None], 0.0, mixed_BxLxV)


def mix_steps(conditional: ReverseStep, other: ReverseStep, weight: jax.Array) -> ReverseStep:
    """The step whose distribution, "stay" included, is q_c^w q_o^(1-w), renormalised."""
    log_q_BxLxV = _mix_logs(_log_probs(conditional), _log_probs(other), weight)
    log_q_BxLxV -= log_q_BxLxV.max(axis=-1, keepdims=True)
    log_stay_BxLx1 = jnp.take_along_axis(log_q_BxLxV, conditional.x_BxL[..., None], axis=-1)
    law = JumpLaw(jnp.exp(log_stay_BxLx1[..., 0]), jnp.ones_like(log_stay_BxLx1[..., 0]))
    return ReverseStep.make(conditional.x_BxL, log_q_BxLxV, law)


def _log_probs(step: ReverseStep) -> jax.Array:
    """Log-probability of every token after the step, (B, L, V); -inf for an impossible one."""
    law = step.law
    weight_BxLxV = jnp.exp(step.log_score_BxLxV)
    if law.floor_BxL is not None:
        weight_BxLxV = jnp.maximum(weight_BxLxV - law.floor_BxL[..., None], 0.0)
    here_BxLxV = jnp.arange(weight_BxLxV.shape[-1])[None, None] == step.x_BxL[..., None]
    weight_BxLxV = jnp.where(
        here_BxLxV, law.stay_BxL[..., None], law.gain_BxL[..., None] * weight_BxLxV
    )
    return jnp.log(weight_BxLxV) - jnp.log(weight_BxLxV.sum(-1, keepdims=True))


def _mix_logs(conditional: jax.Array, other: jax.Array, weight: jax.Array) -> jax.Array:
    """w log q_c + (1 - w) log q_o, where what is impossible for one of them is impossible, but for

    - w = 0: then it is the other's log-probability;
    - w >= 1 and the other's: its power would be infinite, and the conditional's stands.
    """
    mixed = weight * conditional + (1 - weight) * other
    without_other = jnp.where(weight >= 1, conditional, -jnp.inf)
    without_conditional = jnp.where(weight > 0, -jnp.inf, other)
    mixed = jnp.where(jnp.isneginf(other), without_other, mixed)
    return jnp.where(jnp.isneginf(conditional), without_conditional, mixed)
