"""Logistic regression: where its optimum lies, what its penalty is chosen by."""

import numpy as np
import pytest
from scipy.special import log_softmax

from tokenizer_bridge.judging import logistic


def clouds(rng, counts, distance=3.0, dim=5):
    """Gaussian clouds named a, b, …, one centre an axis."""
    x = [rng.standard_normal((n, dim)) + distance * np.eye(dim)[k] for k, n in enumerate(counts)]
    return np.concatenate(x), [
        name for name, n in zip("abcde", counts, strict=False) for _ in range(n)
    ]


def test_it_tells_clouds_apart_and_knows_the_best_that_can_be_done():
    rng = np.random.default_rng(0)
    x_NxD, names = clouds(rng, (100, 100, 100))
    fitted = logistic.fit(x_NxD, names, np.arange(300))
    new_NxD, new_names = clouds(rng, (1000, 1000, 1000))
    # The best there is: the nearest of the three centres.
    best = np.mean(np.array(list("abc"))[new_NxD[:, :3].argmax(1)] == new_names)
    right = np.mean(np.array(fitted.predict(new_NxD)) == new_names)
    assert best - 0.02 < right < best + 0.01


def test_it_is_the_minimum_of_the_loss():
    rng = np.random.default_rng(1)
    x_NxD, names = clouds(rng, (30, 10), distance=1.0)
    fitted = logistic.fit_with(x_NxD, names, 0.1)

    def loss(shift_DxK, shift_K):
        standard = (x_NxD - fitted.mean_D) / fitted.scale_D
        weight = fitted.weight_DxK + shift_DxK
        log_p = log_softmax(standard @ weight + fitted.bias_K + shift_K, axis=1)
        # Both names count alike, the 30 and the 10.
        right = np.array([log_p[i, "ab".index(name)] for i, name in enumerate(names)])
        return -(right[:30].mean() + right[30:].mean()) / 2 + 0.05 * np.square(weight).sum()

    at_minimum = loss(0.0, 0.0)
    for _ in range(20):
        shifts = 0.05 * rng.standard_normal((5, 2)), 0.05 * rng.standard_normal(2)
        assert loss(*shifts) > at_minimum


def test_a_rare_name_is_not_overlooked():
    rng = np.random.default_rng(2)
    x_NxD, names = clouds(rng, (400, 20), distance=1.0)
    fitted = logistic.fit(x_NxD, names, np.arange(420))
    new_NxD, new_names = clouds(rng, (500, 500), distance=1.0)
    answers = np.array(fitted.predict(new_NxD))
    assert np.mean(answers[np.array(new_names) == "b"] == "b") > 0.6


def test_the_penalty_is_chosen_on_artists_that_are_left_out():
    """Features that only tell artists, of whom each has one name, are worth nothing."""
    rng = np.random.default_rng(3)
    artist_N = np.repeat(np.arange(20), 10)
    names = ["ab"[artist % 2] for artist in artist_N]
    x_NxD = np.eye(20)[artist_N] + 0.01 * rng.standard_normal((200, 20))
    by_artist = logistic.fit(x_NxD, names, artist_N)
    by_piece = logistic.fit(x_NxD, names, np.arange(200))
    assert by_piece.penalty == min(logistic.PENALTIES)
    assert by_artist.penalty == max(logistic.PENALTIES)


def test_a_feature_that_never_changes_does_no_harm():
    rng = np.random.default_rng(4)
    x_NxD, names = clouds(rng, (40, 40))
    with_constant = np.concatenate([x_NxD, np.full((80, 1), 7.0)], axis=1)
    fitted = logistic.fit(with_constant, names, np.arange(80))
    assert np.mean(np.array(fitted.predict(with_constant)) == names) > 0.9


@pytest.mark.parametrize(("names", "artists"), [(["a", "a"], [0, 1]), (["a", "b"], [0, 0])])
def test_one_name_or_one_artist_is_too_few(names, artists):
    with pytest.raises(ValueError, match="two"):
        logistic.fit(np.eye(2), names, np.array(artists))
