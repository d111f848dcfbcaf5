"""Schedules: which share of the tokens is still to be drawn after each step of a sampler.

A schedule is the shares u_0 = 1 > u_1 > ... > u_S = 0. A sampler that draws so many positions a
step counts them by it; one whose steps go from time to time goes to the times at which the forward
process has changed such shares.

- uniform: u falls evenly. For samplers of times, it is the time that does, which under log-linear
  noise is the same.
- cosine: u_j = cos(pi j / 2 S): few tokens while little is known (Chang et al. 2022, arXiv
  2202.04200).
- fitted to a model: to e(u), what a masked token costs where the share u is masked. A step from u
  to v draws at e(u) what costs e between v and u, one by one; over all steps that is the error of a
  left Riemann sum of e (Chen, Cong & Li 2025, arXiv 2511.04647), which many steps make smallest
  where their density goes with the root of e's slope. That is for positions in random order.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from sedd_jax.diffusion.choices import STEP_SCHEDULES
from sedd_jax.diffusion.noise import Noise

# A name of `STEP_SCHEDULES`, or e over equal parts of the masked share, from the lowest.
Schedule = str | tuple[float, ...]

_LEAST_DENSITY = 0.1  # of fitted steps, of their mean: e is measured, and flat by chance


def shares(schedule: Schedule, steps: int) -> tuple[float, ...]:
    """u_0 ... u_S of S steps. ValueError for another name than those of `STEP_SCHEDULES`."""
    if isinstance(schedule, tuple):
        return _fitted(np.array(schedule), steps)
    if schedule == "uniform":
        return tuple(1 - j / steps for j in range(steps + 1))
    if schedule == "cosine":
        return (1.0, *(math.cos(math.pi / 2 * j / steps) for j in range(1, steps)), 0.0)
    raise ValueError(f"sampling.schedule must be one of {STEP_SCHEDULES}, got {schedule!r}")


@dataclasses.dataclass(frozen=True)
class Steps:
    """The steps of a sampler, `num` of them, and where the schedule has each of them begin and end.

    Indices count from 0 and may be traced. schedule: its name, or the shares themselves. eps: the
    time at which steps end that go from time to time. strength: the number of a sampler that has
    one.
    """

    num: int
    schedule: Schedule = "uniform"
    eps: float = 1e-5
    strength: float = 0.0

    def share(self, index: jax.Array | int) -> jax.Array:
        """u, the share of tokens still to be drawn before step `index`, []."""
        return jnp.array(shares(self.schedule, self.num), jnp.float32)[index]

    def span(
        self, noise: Noise, index: jax.Array | int
    ) -> tuple[jax.Array | float, jax.Array | float]:
        """(t, dt): the time from which step `index` goes, and how far, both []."""
        if self.schedule == "uniform":
            dt = (1 - self.eps) / self.num
            return self.eps + dt * (self.num - index), dt
        t, end = self._time(noise, index), self._time(noise, index + 1)
        return t, t - end

    def left(self, num_B: jax.Array, index: jax.Array | int) -> jax.Array:
        """The number of `num_B` positions still to be drawn before step `index`, (B,) int32.

        Each step leaves one at least to each that follows, while there are as many. One of a fitted
        schedule may draw none itself.
        """
        left_B = jnp.round(num_B * self.share(index)).astype(jnp.int32)
        return jnp.clip(left_B, jnp.minimum(self.num - index, num_B), None).clip(
            0, jnp.maximum(num_B - index, 0)
        )

    def _time(self, noise: Noise, index: jax.Array | int) -> jax.Array:
        """The time at which the forward process has changed u of what it has at its end, [].

        Within [eps, 1].
        """
        last = -jnp.expm1(-noise(jnp.ones(())).sigma)
        sigma = -jnp.log1p(-self.share(index) * last)
        return jnp.clip(noise.time_of(sigma), self.eps, 1.0)


def _fitted(cost_N: np.ndarray, steps: int) -> tuple[float, ...]:
    """The shares of steps whose density goes with the root of the slope of a cost of N parts."""
    num = len(cost_N)
    mean_NxN = np.array(
        [[cost_N[i : k + 1].mean() if i <= k else np.nan for k in range(num)] for i in range(num)]
    )
    # The nearest that never falls: what is known only makes a token cheaper.
    rising_N = [np.nanmin(mean_NxN[: j + 1, j:], axis=1).max() for j in range(num)]
    density_N = np.sqrt(np.maximum(np.gradient(rising_N), 0)) if num > 1 else np.ones(1)
    density_N = np.maximum(density_N, _LEAST_DENSITY * density_N.mean())
    if not density_N.any():
        density_N = np.ones(num)
    passed = np.concatenate([[0.0], density_N.cumsum() / density_N.sum()])
    inner = np.interp(1 - np.arange(1, steps) / steps, passed, np.linspace(0, 1, num + 1))
    return (1.0, *inner.tolist(), 0.0)
