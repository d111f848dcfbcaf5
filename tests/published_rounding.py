"""The digits that the published SEDD program loses in fp32, and how far that puts its figures off.

Two of its formulas subtract nearly equal numbers when the noise is small. Ours do not, so that a
comparison to 1e-4 has to take their rounding out of the reference; it follows from σ and V, and in
no case from whether our figures agree. B batch, L length, V vocabulary with mask.
"""

import numpy as np

from sedd_jax.diffusion.graph import Absorbing, Graph, Uniform


def loss_excess(
    graph: Graph, sigma_B: np.ndarray, x_BxL: np.ndarray, x0_BxL: np.ndarray
) -> np.ndarray:
    """By how much the published score entropy is off through rounding alone, (B, L).

    For the uniform graph its constant at a token that has moved is (−log r − 1)/r/V + …, with
    r = 1 − V/(expm1(σ) + V) in fp32: off by 6e-8 V/σ of itself (6e-4 at V = 100, σ = 0.01).
    Ours has log1p(V/expm1(σ)).
    """
    if not isinstance(graph, Uniform):
        return np.zeros(x_BxL.shape)
    vocab = graph.vocab_size
    esigm1_B = np.expm1(sigma_B.astype(np.float64))
    # PyTorch divides a number by a tensor as reciprocal times number: two roundings.
    inverse_B = 1 / (esigm1_B.astype(np.float32) + np.float32(vocab))
    rounded_B = (1 - inverse_B * np.float32(vocab)).astype(np.float64)

    def constant(ratio_B):
        return (-np.log(ratio_B) - 1) / ratio_B / vocab

    excess_B = constant(rounded_B) - constant(esigm1_B / (esigm1_B + vocab))
    return np.where(x_BxL != x0_BxL, excess_B[:, None], 0.0)


def step_excess(
    graph: Graph, score_BxLxV: np.ndarray, removed_B: np.ndarray, x_BxL: np.ndarray
) -> np.ndarray:
    """By how much the published analytic step is off through rounding alone, (B, L, V).

    For the absorbing graph a mask stays with 1 − exp(Δσ) times the sum of scores in it, which fp32
    takes as written: off by 6e-8/Δσ of itself, while the scores grow as 1/σ. Ours has expm1.
    """
    excess_BxLxV = np.zeros(score_BxLxV.shape)
    if isinstance(graph, Absorbing):
        removed_B = removed_B.astype(np.float64)
        rounded_B = 1 - np.exp(removed_B).astype(np.float32).astype(np.float64)
        off_B = rounded_B + np.expm1(removed_B)
        masked_BxL = x_BxL == graph.mask_id
        excess_BxLxV[..., graph.mask_id] = masked_BxL * off_B[:, None] * score_BxLxV.sum(-1)
    return excess_BxLxV
