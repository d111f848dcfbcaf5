"""Noise schedules: how much the forward process has forgotten by time t.

Source: Lou, Meng & Ermon (2024), arXiv 2310.16834, eq. 14, section 5.1. Time t runs from 0 (data)
to 1 (noise). sigma is the total noise (the paper's sigma-bar), dsigma = d sigma / dt its rate (the
paper's sigma): the forward process at time t is exp(sigma(t) Q) applied to the data.
"""

import dataclasses
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.choices import check_sigmas


class NoiseLevel(NamedTuple):
    """The noise at some times, each of their shape: in all, and its rate."""

    sigma: jax.Array
    dsigma: jax.Array


@dataclasses.dataclass(frozen=True)
class LogLinear:
    """sigma(t) = -log(1 - (1 - eps) t): a share (1 - eps) t of the tokens has moved by time t.

    `eps` keeps sigma(1) finite: it is the share that has not moved by t = 1.
    """

    eps: float = 1e-3

    def __call__(self, t: jax.Array) -> NoiseLevel:
        """The noise at times t in [0, 1]."""
        moved = (1 - self.eps) * t
        return NoiseLevel(-jnp.log1p(-moved), (1 - self.eps) / (1 - moved))

    def time_of(self, sigma: jax.Array) -> jax.Array:
        """The time at which the noise in all is sigma."""
        return -jnp.expm1(-sigma) / (1 - self.eps)


@dataclasses.dataclass(frozen=True)
class Geometric:
    """sigma(t) = sigma_min^(1 - t) sigma_max^t: log sigma grows evenly.

    Some noise (sigma_min) is left at t = 0; the final denoising step of a sampler removes it.
    """

    sigma_min: float
    sigma_max: float

    def __post_init__(self):
        check_sigmas(self.sigma_min, self.sigma_max)

    def __call__(self, t: jax.Array) -> NoiseLevel:
        """The noise at times t in [0, 1]."""
        sigma = self.sigma_min ** (1 - t) * self.sigma_max**t
        return NoiseLevel(sigma, sigma * math.log(self.sigma_max / self.sigma_min))

    def time_of(self, sigma: jax.Array) -> jax.Array:
        """The time at which the noise in all is sigma."""
        return jnp.log(sigma / self.sigma_min) / math.log(self.sigma_max / self.sigma_min)


MIN_T = 1e-3  # the earliest time that is trained, as in the published program


@dataclasses.dataclass(frozen=True)
class EvenShare:
    """The noise of another schedule at other times: the masked share grows evenly with them.

    From MIN_T to 1 the share 1 - exp(-sigma), RADD's lambda, goes through what it goes through with
    `noise` (Ou et al. 2024, arXiv 2406.03736: the lambda-DCE loss). A loss that weighs sigma by its
    rate has the same expectation with either, and another variance; the weight that -log p(x0) of
    a masked token has, dsigma / expm1(sigma), is one over the share here. Log-linear noise is so
    itself.
    """

    noise: "LogLinear | Geometric"

    def __call__(self, t: jax.Array) -> NoiseLevel:
        """The noise at times t in [MIN_T, 1]."""
        low, high = self._ends()
        first, last = -jnp.expm1(-low), -jnp.expm1(-high)
        rate = (last - first) / (1 - MIN_T)
        share = jnp.minimum(first + rate * (t - MIN_T), 1.0)
        sigma = jnp.minimum(-jnp.log1p(-share), high)  # a share near 1 may round to it
        return NoiseLevel(sigma, rate * jnp.exp(sigma))

    def time_of(self, sigma: jax.Array) -> jax.Array:
        """The time at which the noise in all is sigma."""
        low, high = self._ends()
        passed = (jnp.expm1(-low) - jnp.expm1(-sigma)) / (jnp.expm1(-low) - jnp.expm1(-high))
        return MIN_T + (1 - MIN_T) * passed

    def _ends(self) -> jax.Array:
        return self.noise(jnp.array([MIN_T, 1.0])).sigma


Noise = LogLinear | Geometric | EvenShare


def masked_share_sigma(noise: Noise, share: jax.Array) -> jax.Array:
    """The noise at which the absorbing process has masked such a share, within that of training."""
    low, high = noise(jnp.array([MIN_T, 1.0])).sigma
    return jnp.clip(-jnp.log1p(-jnp.minimum(share, 1.0)), low, high)


def make_noise(name: str, *, sigma_min: float = 1e-4, sigma_max: float = 20.0) -> Noise:
    """The schedule called `name`, "loglinear" or "geometric"; else ValueError."""
    if name == "loglinear":
        return LogLinear()
    if name == "geometric":
        return Geometric(sigma_min, sigma_max)
    raise ValueError(f'noise.type must be "loglinear" or "geometric", got "{name}"')
