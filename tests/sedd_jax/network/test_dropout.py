import jax
import numpy as np
import pytest

from sedd_jax.network.dropout import dropout, keep_masks

B, L, D = 4, 128, 96
KEYS = jax.random.split(jax.random.key(0), B)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_keeps_the_right_share(rate):
    draws = np.stack(keep_masks(KEYS, 0, L, D, rate))
    deviation = (rate * (1 - rate) / draws.size) ** 0.5
    assert (draws.mean() - (1 - rate)) == pytest.approx(0, abs=4 * deviation)
    for axis in ((1, 2, 3), (0, 2, 3), (0, 1, 3), (0, 1, 2)):  # no place is favoured
        shares = draws.mean(axis=axis)
        spread = (rate * (1 - rate) * shares.size / draws.size) ** 0.5
        assert np.abs(shares - (1 - rate)).max() < 5 * spread


def test_masks_are_independent_of_each_other():
    first, second = np.array(keep_masks(KEYS, 0, L, D, 0.5))
    other_block = np.array(keep_masks(KEYS, 1, L, D, 0.5)[0])
    pairs = {
        "site": (first, second),
        "block": (first, other_block),
        "row": (first[:-1], first[1:]),
        "position": (first[:, :-1], first[:, 1:]),
        "channel": (first[:, :, :-1], first[:, :, 1:]),
    }
    for name, (a, b) in pairs.items():
        agree = (a == b).mean()
        assert agree == pytest.approx(0.5, abs=4 * 0.5 / a.size**0.5), name


def test_masks_belong_to_their_row():
    together = np.array(keep_masks(KEYS, 2, L, D, 0.1))
    reordered = np.array(keep_masks(KEYS[np.array([3, 1])], 2, L, D, 0.1))
    np.testing.assert_array_equal(together[:, [3, 1]], reordered)


def test_dropout_keeps_the_expectation():
    keep = keep_masks(KEYS, 0, L, D, 0.25)[0]
    x_BxLxD = np.ones((B, L, D), np.float32)
    assert dropout(x_BxLxD, keep, 0.25).mean() == pytest.approx(1.0, abs=0.02)
    assert dropout(x_BxLxD, None, 0.25) is x_BxLxD
