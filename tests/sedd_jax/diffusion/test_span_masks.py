import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.noise import Geometric, LogLinear
from sedd_jax.diffusion.span_masks import span_masked

ROWS, LENGTH = 4_000, 64
GRAPH, NOISE = Absorbing(6), LogLinear()


def masked(share, t, noise=NOISE, seed=0):
    """(ROWS, LENGTH) bool: which positions are masked; and the rows' times."""
    key_B = jax.random.split(jax.random.key(seed), ROWS)
    x0_BxL = jnp.zeros((ROWS, LENGTH), jnp.int32)
    x_BxL, t_B = span_masked(GRAPH, noise, key_B, x0_BxL, jnp.full(ROWS, t), share)
    return np.asarray(x_BxL) == GRAPH.mask_id, np.asarray(t_B)


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9])
def test_each_position_is_masked_as_often_as_without_spans(t):
    share_L = masked(1.0, t)[0].mean(0)
    # Standard error at most sqrt(0.25 / 4,000) = 0.008; the largest of 64 within four of them.
    np.testing.assert_allclose(share_L, 0.999 * t, atol=0.032)


def test_neighbours_are_masked_together():
    """Two neighbours of which each is masked by itself half of the time are in a quarter."""
    alone, spans = (masked(share, 0.5 / 0.999)[0] for share in (0.0, 1.0))
    assert (alone[:, 1:] & alone[:, :-1]).mean() == pytest.approx(0.25, abs=0.01)
    # The chance that no stretch begins between them is 1 - 1/mean; mean log-uniform in [2, 32].
    together = 1 - (1 / 2 - 1 / 32) / np.log(16)
    expected = 0.25 + 0.25 * together
    assert (spans[:, 1:] & spans[:, :-1]).mean() == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("noise", [NOISE, Geometric(1e-4, 20.0)])
def test_a_row_with_spans_is_of_the_time_of_its_masked_share(noise):
    masked_BxL, t_B = masked(1.0, 0.6, noise)
    share_B = masked_BxL.mean(1)
    inside_B = (share_B > 0) & (share_B < 1)
    sigma_B = np.asarray(noise(jnp.asarray(t_B)).sigma)
    np.testing.assert_allclose(-np.expm1(-sigma_B[inside_B]), share_B[inside_B], rtol=1e-3)
    low, high = noise(jnp.array([1e-3, 1.0])).sigma
    assert (sigma_B > 0.999 * low).all() and (sigma_B < 1.001 * high).all()


def test_rows_without_spans_are_those_of_perturb_and_the_share_is_kept():
    key_B = jax.random.split(jax.random.key(1), ROWS)
    x0_BxL, t_B = jnp.zeros((ROWS, LENGTH), jnp.int32), jnp.full(ROWS, 0.4)
    plain = np.asarray(GRAPH.perturb(key_B, x0_BxL, NOISE(t_B).sigma)) == GRAPH.mask_id
    mixed, times_B = masked(0.3, 0.4, seed=1)
    same_B = (plain == mixed).all(-1)
    assert same_B.mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_array_equal(times_B[same_B], np.float32(0.4))
    none, times_B = masked(0.0, 0.4, seed=1)
    np.testing.assert_array_equal(none, plain)
    assert (times_B == np.float32(0.4)).all()


def test_a_rows_spans_depend_on_its_key_alone():
    key_B = jax.random.split(jax.random.key(2), 5)
    x0_BxL, t_B = jnp.zeros((5, LENGTH), jnp.int32), jnp.full(5, 0.4)
    together = span_masked(GRAPH, NOISE, key_B, x0_BxL, t_B, 0.5)
    alone = span_masked(GRAPH, NOISE, key_B[3:4], x0_BxL[3:4], t_B[3:4], 0.5)
    for several, one in zip(together, alone, strict=True):
        np.testing.assert_array_equal(several[3:4], one)
