"""Schedules, and the one that is fitted to what tokens cost."""

import itertools

import numpy as np
import pytest

from sedd_jax.diffusion.schedule import shares


@pytest.mark.parametrize(
    "schedule", ["uniform", "cosine", (1.0, 1.0), (3.0,), (0.5, 0.4, 1.0, 6.0)]
)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_shares_fall_from_one_to_zero(schedule, steps):
    share_S = shares(schedule, steps)
    assert len(share_S) == steps + 1 and share_S[0] == 1 and share_S[-1] == 0
    assert all(after < before for before, after in itertools.pairwise(share_S))


def test_a_cost_that_does_not_change_is_fitted_by_even_steps():
    np.testing.assert_allclose(shares((2.0,) * 5, 8), shares("uniform", 8), atol=1e-12)


def test_the_fitted_schedule_draws_at_the_least_extra_cost():
    """With e(u) = 1 + 5 u^8, drawing at each step's start costs this more than one by one."""
    cost_N = tuple(1 + 5 * ((np.arange(32) + 0.5) / 32) ** 8)

    def extra(schedule, steps):
        share_S = np.array(shares(schedule, steps))
        paid = ((share_S[:-1] - share_S[1:]) * (1 + 5 * share_S[:-1] ** 8)).sum()
        return paid - (1 + 5 / 9)

    for steps in (4, 16, 64):
        fitted, cosine = extra(cost_N, steps), extra("cosine", steps)
        assert 0 < fitted < cosine < extra("uniform", steps)
    # Many steps: the square of the integral of the root of e', over twice as many.
    assert extra(cost_N, 64) == pytest.approx((40**0.5 / 4.5) ** 2 / 2 / 64, rel=0.06)


def test_costs_that_fall_by_chance_are_fitted_all_the_same():
    noisy = 1 + 5 * np.linspace(0, 1, 32) ** 8
    noisy += np.random.default_rng(0).normal(scale=0.2, size=32)
    exact = tuple(1 + 5 * np.linspace(0, 1, 32) ** 8)
    np.testing.assert_allclose(shares(tuple(noisy), 8), shares(exact, 8), atol=0.08)
