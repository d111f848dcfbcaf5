"""Multinomial logistic regression, its penalty chosen on artists that it was not fitted to.

N pieces, D features, K names.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

# On the weights of standardised features, with the mean of the log-losses: λ |W|² / 2.
PENALTIES = tuple(10.0**i for i in range(-5, 2))
_FOLDS = 5
_MOST_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class Logistic:
    """A fitted classifier. names: the K classes; features are (x − mean) / scale before weights."""

    names: tuple[str, ...]
    mean_D: np.ndarray
    scale_D: np.ndarray
    weight_DxK: np.ndarray
    bias_K: np.ndarray
    penalty: float

    def log_probabilities(self, x_NxD: np.ndarray) -> np.ndarray:
        """(N, K), in the order of `names`."""
        standard_NxD = (x_NxD - self.mean_D) / self.scale_D
        return log_softmax(standard_NxD @ self.weight_DxK + self.bias_K, axis=1)

    def predict(self, x_NxD: np.ndarray) -> list[str]:
        """The most probable name of each."""
        return [self.names[k] for k in self.log_probabilities(x_NxD).argmax(1)]


def fit(x_NxD: np.ndarray, names_N: Sequence[str], group_N: np.ndarray) -> Logistic:
    """The classifier with the penalty of least log-loss on groups that are left out.

    Names count alike, however many pieces each has: a rare one is not overlooked. group_N: the
    number of each piece's artist. Raises ValueError for fewer than two names or groups.
    """
    groups = np.unique(group_N)
    if len(set(names_N)) < 2 or len(groups) < 2:
        raise ValueError("needs two names and two artists at least")
    # Artists in random order, dealt to folds.
    shuffled = np.random.default_rng(0).permutation(groups)
    fold_of = {group: i % _FOLDS for i, group in enumerate(shuffled)}
    fold_N = np.array([fold_of[group] for group in group_N])
    losses = [_left_out_loss(x_NxD, names_N, fold_N, penalty) for penalty in PENALTIES]
    return fit_with(x_NxD, names_N, PENALTIES[int(np.argmin(losses))])


def fit_with(x_NxD: np.ndarray, names_N: Sequence[str], penalty: float) -> Logistic:
    """The classifier with a given penalty; names count alike."""
    x_NxD = np.asarray(x_NxD, np.float64)
    mean_D, scale_D = x_NxD.mean(0), x_NxD.std(0)
    scale_D = np.where(scale_D > 1e-9 * np.abs(mean_D).clip(1e-9), scale_D, 1.0)
    standard_NxD = (x_NxD - mean_D) / scale_D
    names = tuple(sorted(set(names_N)))
    class_N = np.array([names.index(name) for name in names_N])
    count_K = np.bincount(class_N)
    share_N = 1 / (len(names) * count_K[class_N])
    is_class_NxK = np.eye(len(names))[class_N]
    dim = x_NxD.shape[1]

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weight_ExK = flat.reshape(dim + 1, len(names))  # the last row is the bias
        log_p_NxK = log_softmax(standard_NxD @ weight_ExK[:-1] + weight_ExK[-1], axis=1)
        loss = -share_N @ log_p_NxK[range(len(class_N)), class_N]
        loss += penalty / 2 * np.square(weight_ExK[:-1]).sum()
        error_NxK = share_N[:, None] * (np.exp(log_p_NxK) - is_class_NxK)
        gradient_DxK = standard_NxD.T @ error_NxK + penalty * weight_ExK[:-1]
        return loss, np.concatenate([gradient_DxK, error_NxK.sum(0)[None]]).ravel()

    start = np.zeros((dim + 1) * len(names))
    found = minimize(
        loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": _MOST_ITERATIONS}
    )
    weight_ExK = found.x.reshape(dim + 1, len(names))
    return Logistic(names, mean_D, scale_D, weight_ExK[:-1], weight_ExK[-1], penalty)


def _left_out_loss(
    x_NxD: np.ndarray, names_N: Sequence[str], fold_N: np.ndarray, penalty: float
) -> float:
    """Mean −log p of the right names of pieces in folds that were not fitted to, names alike.

    A name that only one fold has cannot be learnt without it, and its pieces do not count there.
    """
    names_N = np.asarray(names_N)
    losses: dict[str, list[float]] = {}
    for fold in np.unique(fold_N):
        is_out_N = fold_N == fold
        if len(set(names_N[~is_out_N])) < 2:
            continue
        fitted = fit_with(x_NxD[~is_out_N], list(names_N[~is_out_N]), penalty)
        log_p_MxK = fitted.log_probabilities(x_NxD[is_out_N])
        for name, log_p_K in zip(names_N[is_out_N], log_p_MxK, strict=True):
            if name in fitted.names:
                losses.setdefault(name, []).append(-log_p_K[fitted.names.index(name)])
    return float(np.mean([np.mean(values) for values in losses.values()])) if losses else np.inf
