"""A known error that estimates share, taken off by a regression that biases nothing.

W windows, F folds, N windows of several folds.
"""

import numpy as np

NUM_FOLDS = 10  # of the regression that says how much of the uniform guess's error to subtract
MIN_GROUPS = 8  # with fewer independent draws the regression is worse than none


def without_shared_error(
    nats_W: np.ndarray, error_W: np.ndarray, tokens_W: np.ndarray, key_W: np.ndarray
) -> np.ndarray:
    """Estimates less the part of them that goes with an error of known expectation 0.

    A control variate: nats − b·error, b the slope of nats over error (Owen 2013, "Monte Carlo
    theory, methods and examples", §8.9). Were b fitted to the noise that it is to cancel, the
    result would be biased. So windows are dealt into NUM_FOLDS folds, and the b of a fold is fitted
    to the others (cross-fitting): given the data, it is independent of the fold's noise, and the
    expectation of b·error is 0 exactly. What is dealt are the independent draws of noise, which
    key_W tells apart. With fewer than MIN_GROUPS of them b is 1, that of a network which
    knows next to nothing.

    nats_W, error_W: (W,) float64; tokens_W: how many tokens each is the cost of. Returns (W,).
    """
    unique, group_W = np.unique(key_W, return_inverse=True)
    if len(unique) < MIN_GROUPS:
        return nats_W - error_W
    fold_W = group_W % NUM_FOLDS
    slope_F = np.zeros(NUM_FOLDS)
    for fold in range(NUM_FOLDS):
        rest_W = fold_W != fold
        slope_F[fold] = _slope(nats_W[rest_W], error_W[rest_W], tokens_W[rest_W])
    return nats_W - slope_F[fold_W] * error_W


def _slope(nats_N: np.ndarray, error_N: np.ndarray, tokens_N: np.ndarray) -> float:
    """The b of nats = a·tokens + b·error by weighted least squares.

    Both vary with the root of the tokens, by which they are divided. The error has tails so heavy,
    where t happens to be next to 0, that plain least squares hear a few windows only. A weight of
    1 / (1 + (error / scale)²) bounds what one of them says.
    """
    root_N = np.sqrt(tokens_N)
    relative_N = error_N / root_N
    scale = 4 * np.median(np.abs(relative_N))
    weight_N = 1 / np.hypot(1, relative_N / scale)  # of equations: the root of their squares'
    equations_Nx2 = np.stack([root_N, relative_N], axis=1) * weight_N[:, None]
    (_, slope), *_ = np.linalg.lstsq(equations_Nx2, nats_N / root_N * weight_N)
    return float(slope)
