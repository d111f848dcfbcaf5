"""A variational upper bound on -log p(x0) of what the reverse process draws, in nats.

Source: Lou, Meng & Ermon (2024), arXiv 2310.16834, eq. 9 and 10: -log p(x0) is at most the integral
of the denoising score entropy over time, plus the KL divergence at t = 1. Two things are made
exact here that the paper leaves to limits, so that the sum is a bound and not nearly one:

- At t = 1 the absorbing sampler starts from masks only, while the forward process leaves a token
  unmasked with probability exp(-sigma(1)): the divergence would be infinite. Any process that
  starts at x0 gives a bound, so we take the forward process given that all is masked at t = 1
  (`pinned_sigma`): its divergence is zero, and its reverse rates, hence the integrand, the same.
- At t = eps the reverse process stops and the final denoising step takes over: the integral runs
  from eps to 1, and the step contributes E[-log p(x0 | x_eps)].

What is bounded is the limit of many steps of the samplers of rates.py. Those of orders.py choose
the positions that they draw, and have other laws where the model errs, of which this is no bound: a
mistake in the order of "spread" alone is paid for here in one of many orders, and there each time.
The final step is taken to redraw a token uniformly with probability `REDRAW`, so that one
probability rounded or clamped to zero costs some nats and not infinitely many; this adds at most
1e-6 nats a token.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.graph import Graph
from sedd_jax.diffusion.jump import fold_in_rows, uniform_rows
from sedd_jax.diffusion.loss import LogScoreFn, dwdse_loss
from sedd_jax.diffusion.noise import Noise
from sedd_jax.diffusion.process import Process

REDRAW = 1e-6


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Bound:
    """Unbiased estimates of the terms of the bound, in nats a sequence."""

    diffusion_B: jax.Array  # [B] integral of dsigma x score entropy over t in [eps, 1]
    t_BxS: jax.Array  # [B, S] the times at which the integrand was measured
    integrand_BxS: jax.Array  # [B, S] there, times (1 - eps): the mean of a row is its diffusion
    prior_B: jax.Array  # [B] KL to the limit at t = 1
    reconstruction_B: jax.Array  # [B] -log p(x0 | x_eps) of the final denoising step

    @property
    def total_B(self) -> jax.Array:
        """[B] nats a sequence; its expectation is at least -log p(x0)."""
        return self.diffusion_B + self.prior_B + self.reconstruction_B


def bound_terms(
    log_score_fn: LogScoreFn,
    graph: Graph,
    noise: Noise,
    x0_BxL: jax.Array,
    key_B: jax.Array,
    *,
    num_t: int,
    eps: float = 1e-5,
    counts_BxL: jax.Array | None = None,
) -> Bound:
    """Estimates the bound of each sequence with `num_t` + 1 network evaluations.

    The S = `num_t` times are uniform within equal strata of [eps, 1]. A sequence's estimate
    depends on its own key alone. `eps` is the sampler's.

    counts_BxL: bool, the positions that are charged; all by default. The sum is then a bound on
    -log p of these tokens given the others.
    """
    batch_size = x0_BxL.shape[0]
    if counts_BxL is None:
        counts_BxL = jnp.ones(x0_BxL.shape, bool)
    last_sigma = noise(jnp.ones(())).sigma

    def perturb(key_now_B, t_B):
        return graph.perturb(key_now_B, x0_BxL, graph.pinned_sigma(noise(t_B).sigma, last_sigma))

    def measure_stratum(_, stratum):
        t_key_B = fold_in_rows(key_B, 2 * stratum)
        x_key_B = fold_in_rows(key_B, 2 * stratum + 1)
        t_B = eps + (1 - eps) * (stratum + uniform_rows(t_key_B)) / num_t
        x_BxL = perturb(x_key_B, t_B)
        loss_B = dwdse_loss(log_score_fn, graph, noise, x0_BxL, t_B, x_BxL, counts_BxL=counts_BxL)
        return None, (t_B, (1 - eps) * loss_B)

    _, (t_SxB, integrand_SxB) = jax.lax.scan(measure_stratum, None, jnp.arange(num_t))

    x_BxL = perturb(fold_in_rows(key_B, 2 * num_t), jnp.full(batch_size, eps))
    log_prob_BxL = Process(graph, noise, log_score_fn).denoiser(x_BxL, eps).log_prob(x0_BxL)
    log_prob_BxL = jnp.logaddexp(
        log_prob_BxL + math.log1p(-REDRAW), math.log(REDRAW / graph.num_codes)
    )
    return Bound(
        diffusion_B=integrand_SxB.mean(0),
        t_BxS=t_SxB.T,
        integrand_BxS=integrand_SxB.T,
        prior_B=counts_BxL.sum(-1) * graph.prior_kl(last_sigma),
        reconstruction_B=-jnp.where(counts_BxL, log_prob_BxL, 0.0).sum(-1),
    )
