"""Schedules: which share of the tokens is still to be drawn after each step of a sampler.

A schedule is the shares u_0 = 1 > u_1 > ... > u_S = 0. A sampler that draws so many positions a
step counts them by it; one whose steps go from time to time goes to the times at which the forward
process has changed such shares.

- uniform: u falls evenly. For samplers of times, it is the time that does, which under log-linear
  noise is the same.
- cosine: u_j = cos(pi j / 2 S): few tokens while little is known (Chang et al. 2022, arXiv
  2202.04200).
"""

import dataclasses
import math

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.choices import STEP_SCHEDULES
from sedd_jax.diffusion.noise import Noise


def shares(name: str, steps: int) -> tuple[float, ...]:
    """u_0 ... u_S of S steps. ValueError for another name than those of `STEP_SCHEDULES`."""
    if name == "uniform":
        return tuple(1 - j / steps for j in range(steps + 1))
    if name == "cosine":
        return (1.0, *(math.cos(math.pi / 2 * j / steps) for j in range(1, steps)), 0.0)
    raise ValueError(f"sampling.schedule must be one of {STEP_SCHEDULES}, got {name!r}")


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of a sampler, `num` of them, and where the schedule has each of them begin and end.

    Indices count from 0 and may be traced. eps: the time at which steps end that go from time to
    time.
    """

    num: int
    schedule: str = "uniform"
    eps: float = 1e-5

    def share(self, index: jax.Array | int) -> jax.Array:
        """u, the share of tokens still to be drawn before step `index`, []."""
        return jnp.array(shares(self.schedule, self.num), jnp.float32)[index]

    def span(self, noise: Noise, index: jax.Array | int) -> tuple[jax.Array, jax.Array | float]:
        """(t, dt): the time from which step `index` goes, and how far, both []."""
        if self.schedule == "uniform":
            dt = (1 - self.eps) / self.num
            return self.eps + dt * (self.num - index), dt
        t, end = self._time(noise, index), self._time(noise, index + 1)
        return t, t - end

    def left(self, num_B: jax.Array, index: jax.Array | int) -> jax.Array:
        """How many of `num_B` positions are still to be drawn before step `index`, (B,) int32.

        Each step draws one at least, as long as there are any, and never more than leaves one to
        each that follows.
        """
        left_B = jnp.round(num_B * self.share(index)).astype(jnp.int32)
        return jnp.clip(left_B, jnp.minimum(self.num - index, num_B), None).clip(
            0, jnp.maximum(num_B - index, 0)
        )

    def _time(self, noise: Noise, index: jax.Array | int) -> jax.Array:
        """The time at which the forward process has changed the share u, within [eps, 1]."""
        last = -jnp.expm1(-noise(jnp.ones(())).sigma)
        sigma = -jnp.log1p(-jnp.minimum(self.share(index), last))
        return jnp.clip(noise.time_of(sigma), self.eps, 1.0)
