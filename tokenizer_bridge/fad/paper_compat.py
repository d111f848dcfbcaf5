"""The PANNs distance as a widely used package computes it, to compare with published figures."""

import numpy as np


def flattened_distance(x_NxD: np.ndarray, y_MxD: np.ndarray) -> float:
    """(mean − mean)² + (deviation − deviation)² over all values of all vectors, as one dimension.

    `frechet_audio_distance` flattens the PANNs vectors before it takes mean and covariance (its
    issue 37), so that 2,048 dimensions become one. It is blind to nearly everything that the
    distance of vectors sees, and no Fréchet audio distance; published PANNs figures of the order of
    1e-4 are of this kind.
    """
    x_NxD, y_MxD = np.asarray(x_NxD, np.float64), np.asarray(y_MxD, np.float64)
    deviations = (np.std(vectors, ddof=1) for vectors in (x_NxD, y_MxD))
    return float((x_NxD.mean() - y_MxD.mean()) ** 2 + np.subtract(*deviations) ** 2)
