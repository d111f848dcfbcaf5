import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sedd_jax.diffusion.graph import Absorbing
from sedd_jax.diffusion.span_masks import span_uniforms

ROWS, LENGTH = 4_000, 64
GRAPH = Absorbing(6)


def masked(share, sigma):
    """Which positions are masked, (ROWS, LENGTH)."""
    key_B = jax.random.split(jax.random.key(0), ROWS)
    u_BxL = span_uniforms(key_B, LENGTH, share)
    x0_BxL = jnp.zeros((ROWS, LENGTH), jnp.int32)
    return np.asarray(GRAPH.mask(u_BxL, x0_BxL, jnp.full(ROWS, sigma))) == GRAPH.mask_id


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.5])
def test_each_position_is_masked_as_often_as_without_spans(sigma):
    share_L = masked(1.0, sigma).mean(0)
    # Standard error at most sqrt(0.25 / 4,000) = 0.008; the largest of 64 within four of them.
    np.testing.assert_allclose(share_L, 1 - np.exp(-sigma), atol=0.032)


def test_neighbours_are_masked_together():
    """Where half is masked, alone both of two neighbours are in a quarter of the cases."""
    alone, spans = masked(0.0, np.log(2)), masked(1.0, np.log(2))
    assert (alone[:, 1:] & alone[:, :-1]).mean() == pytest.approx(0.25, abs=0.01)
    # The chance that no stretch begins between them is 1 - 1/mean; mean log-uniform in [2, 32].
    together = 1 - (1 / 2 - 1 / 32) / np.log(16)
    expected = 0.25 + 0.25 * together
    assert (spans[:, 1:] & spans[:, :-1]).mean() == pytest.approx(expected, abs=0.01)


def test_rows_without_spans_are_those_of_perturb_and_the_share_is_kept():
    key_B = jax.random.split(jax.random.key(1), ROWS)
    x0_BxL, sigma_B = jnp.zeros((ROWS, LENGTH), jnp.int32), jnp.full(ROWS, 0.5)
    plain = GRAPH.perturb(key_B, x0_BxL, sigma_B)
    mixed = GRAPH.mask(span_uniforms(key_B, LENGTH, 0.3), x0_BxL, sigma_B)
    same_B = np.asarray(plain == mixed).all(-1)
    assert same_B.mean() == pytest.approx(0.7, abs=0.03)
    np.testing.assert_array_equal(
        GRAPH.mask(span_uniforms(key_B, LENGTH, 0.0), x0_BxL, sigma_B), plain
    )


def test_a_rows_spans_depend_on_its_key_alone():
    key_B = jax.random.split(jax.random.key(2), 5)
    together = span_uniforms(key_B, LENGTH, 0.5)
    np.testing.assert_array_equal(together[3:4], span_uniforms(key_B[3:4], LENGTH, 0.5))
