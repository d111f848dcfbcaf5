"""Parametrisations: how a network's output becomes log-scores, and how it becomes a loss.

Samplers, guidance and the bound see log-scores alone; training sees the loss alone. Both follow
from one object, which the config names (`loss.type`):

- "score_entropy" (Lou, Meng & Ermon 2024, arXiv 2310.16834), both graphs: the output is the
  log-score itself, and the loss the score entropy of it.
- "conditional" (RADD: Ou et al. 2024, arXiv 2406.03736), absorbing graph: a softmax of the output
  over the codes is p(code | the tokens that are not masked), in which no time occurs, so that the
  network is not told the noise level. The log-score is log p - log expm1(sigma) (Theorem 1).
- "masked" (MD4: Shi et al. 2024, arXiv 2406.04329; MDLM: Sahoo et al. 2024, arXiv 2406.07524),
  absorbing graph: the same softmax of a network that is told the noise level.
- "mean" (UDLM: Schiff et al. 2024, arXiv 2412.10193), uniform graph: a softmax of the output over
  the codes is p(code | what the noise made of all other tokens). A position's marginal under the
  noise is then e^-sigma p + (1 - e^-sigma) / V, and ratios of it are the scores. UDLM's
  continuous-time loss is the score entropy of these.

"conditional" and "masked" have one loss, -log p(x0) of masked positions weighted by dsigma /
expm1(sigma): the t-DCE of RADD (eq. 3.8), and the masked cross-entropy of MD4 and MDLM with the
weight of the schedule, -alpha'/(1 - alpha) of alpha = exp(-sigma). Nor is it another than the
first: the scores p / expm1(sigma) sum to 1 / expm1(sigma), the true ratio at x0, so that of their
score entropy (arXiv 2310.16834, eq. 7) nothing is left but that cross-entropy. What differs is
what the network has to learn by itself: its sum, and what time changes.

Letters: B batch, L length, V vocabulary (with the mask, where there is one).
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.choices import PARAMETRISATIONS
from sedd_jax.diffusion.code_nats import log_sum_codes, weighted_code_nats
from sedd_jax.diffusion.graph import Absorbing, Graph, Uniform
from sedd_jax.diffusion.mean_sums import mean_sums
from sedd_jax.diffusion.noise import Noise

# (x_BxL, sigma_B) -> output_BxLxV of the network, fp32.
OutputFn = Callable[[jax.Array, jax.Array], jax.Array]


class Parametrisation(Protocol):
    """The meaning of a network's output (B, L, V) for tokens x_BxL at noise sigma_B.

    is_told_sigma: whether the network is to be told sigma_B.
    """

    @property
    def is_told_sigma(self) -> bool: ...

    def log_score(self, output_BxLxV: jax.Array, x_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """Log-scores (B, L, V), zero at the current token."""
        ...

    def entropy(
        self, output_BxLxV: jax.Array, sigma_B: jax.Array, x_BxL: jax.Array, x0_BxL: jax.Array
    ) -> jax.Array:
        """The loss of each position before the weight dsigma, (B, L) nats."""
        ...


@dataclasses.dataclass(frozen=True)
class ScoreEntropy:
    """The output is the log-score, and the loss its denoising score entropy: the paper's.

    scale_by_sigma: whether the ratio of uniform codes under the absorbing graph, 1 / expm1(sigma)
    / (V - 1), stands for zero in the output.
    """

    graph: Graph
    scale_by_sigma: bool

    @property
    def is_told_sigma(self) -> bool:
        """True: scores depend on it."""
        return True

    def log_score(self, output_BxLxV: jax.Array, x_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """See `Parametrisation`."""
        vocab_size = output_BxLxV.shape[-1]
        if self.scale_by_sigma:
            offset_B = jnp.log(jnp.expm1(sigma_B)) + math.log(vocab_size - 1)
            output_BxLxV = output_BxLxV - offset_B[:, None, None]
        return zero_at_current(output_BxLxV, x_BxL)

    def entropy(
        self, output_BxLxV: jax.Array, sigma_B: jax.Array, x_BxL: jax.Array, x0_BxL: jax.Array
    ) -> jax.Array:
        """See `Parametrisation`."""
        log_score_BxLxV = self.log_score(output_BxLxV, x_BxL, sigma_B)
        return self.graph.score_entropy(log_score_BxLxV, sigma_B, x_BxL, x0_BxL)


@dataclasses.dataclass(frozen=True)
class CodeProbabilities:
    """A softmax of the output over the codes, never the mask, is p(x0_i | x) of masked positions.

    Of the output at other positions nothing is used, and nothing is learnt.
    """

    graph: Absorbing
    is_told_sigma: bool

    def log_score(self, output_BxLxV: jax.Array, x_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """See `Parametrisation`. That of turning into the mask, which nothing asks for, is 0."""
        mask_id = self.graph.mask_id
        offset_BxL = log_sum_codes(mask_id, output_BxLxV) + jnp.log(jnp.expm1(sigma_B))[:, None]
        token_V = jnp.arange(output_BxLxV.shape[-1])[None, None]
        log_score_BxLxV = output_BxLxV - offset_BxL[..., None]
        # Its output has never met a gradient, and may be too large to exponentiate.
        return zero_at_current(jnp.where(token_V == mask_id, 0.0, log_score_BxLxV), x_BxL)

    def entropy(
        self, output_BxLxV: jax.Array, sigma_B: jax.Array, x_BxL: jax.Array, x0_BxL: jax.Array
    ) -> jax.Array:
        """See `Parametrisation`."""
        mask_id = self.graph.mask_id
        weight_BxL = jnp.where(x_BxL == mask_id, 1 / jnp.expm1(sigma_B)[:, None], 0.0)
        return weighted_code_nats(mask_id, output_BxLxV, x0_BxL, weight_BxL)


@dataclasses.dataclass(frozen=True)
class CodeMeans:
    """A softmax p of the output over the codes is p(x0_i | what the noise made of all others).

    A token y is as probable as p_y V / expm1(sigma) + 1 says, up to a factor, so that ratios of
    these are the scores.
    """

    graph: Uniform

    @property
    def is_told_sigma(self) -> bool:
        """True: the other tokens are seen through the noise."""
        return True

    def log_score(self, output_BxLxV: jax.Array, x_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """See `Parametrisation`."""
        raised_BxLxV = self._excess(sigma_B)[:, None, None] * jax.nn.softmax(output_BxLxV)
        log_BxLxV = jnp.log1p(raised_BxLxV)
        log_x_BxLx1 = jnp.take_along_axis(log_BxLxV, x_BxL[..., None], -1)
        return zero_at_current(log_BxLxV - log_x_BxLx1, x_BxL)

    def entropy(
        self, output_BxLxV: jax.Array, sigma_B: jax.Array, x_BxL: jax.Array, x0_BxL: jax.Array
    ) -> jax.Array:
        """See `Parametrisation`: the score entropy of `log_score`, summed up before."""
        excess_B, vocab = self._excess(sigma_B), self.graph.vocab_size
        sums = mean_sums(output_BxLxV, x_BxL, x0_BxL, excess_B)
        log_x_BxL, log_x0_BxL = (
            jnp.log1p(excess_B[:, None] * jnp.exp(log_p_BxL))
            for log_p_BxL in (sums.log_p_x_BxL, sums.log_p_x0_BxL)
        )
        score_sum_BxL = (vocab + excess_B)[:, None] * jnp.exp(-log_x_BxL) - 1
        log_sum_BxL = sums.log_raised_sum_BxL - vocab * log_x_BxL
        weights = self.graph.entropy_weights(sigma_B, x_BxL, x0_BxL)
        return (
            score_sum_BxL / vocab
            - weights.log_BxL * log_sum_BxL
            - weights.x0_BxL * (log_x0_BxL - log_x_BxL)
            + weights.constant_BxL
        )

    def _excess(self, sigma_B: jax.Array) -> jax.Array:
        """The odds of a token to have stayed rather than to have been redrawn, times V."""
        return self.graph.vocab_size / jnp.expm1(sigma_B)


def zero_at_current(log_score_BxLxV: jax.Array, x_BxL: jax.Array) -> jax.Array:
    """Log-scores (B, L, V) with that of the current token 0, whatever it was."""
    token_V = jnp.arange(log_score_BxLxV.shape[-1], dtype=x_BxL.dtype)
    return jnp.where(token_V[None, None, :] == x_BxL[:, :, None], 0.0, log_score_BxLxV)


def training_loss(
    parametrisation: Parametrisation,
    output_fn: OutputFn,
    noise: Noise,
    x0_BxL: jax.Array,
    t_B: jax.Array,
    x_BxL: jax.Array,
) -> jax.Array:
    """The loss of clean sequences x0 seen as x ~ p_{t|0}(. | x0) at times t, (B,) fp32.

    In nats a sequence: summed over positions, weighted by dsigma. Its mean over t and x estimates
    the integral of the bound (arXiv 2310.16834, eq. 10).
    """
    sigma_B, dsigma_B = noise(t_B)
    output_BxLxV = output_fn(x_BxL, sigma_B)
    entropy_BxL = parametrisation.entropy(output_BxLxV, sigma_B, x_BxL, x0_BxL)
    return dsigma_B * entropy_BxL.sum(-1)


def make_parametrisation(name: str, graph: Graph, *, scale_by_sigma: bool) -> Parametrisation:
    """The parametrisation called `name`, for a graph; scale_by_sigma: of "score_entropy".

    Raises ValueError for another name, or one that is not for the graph.
    """
    if name == "score_entropy":
        return ScoreEntropy(graph, scale_by_sigma)
    if name not in PARAMETRISATIONS:
        raise ValueError(f"loss.type must be one of {tuple(PARAMETRISATIONS)}, got {name!r}")
    if name == "mean":
        if not isinstance(graph, Uniform):
            raise ValueError('loss.type "mean" is for the uniform graph')
        return CodeMeans(graph)
    if not isinstance(graph, Absorbing):
        raise ValueError(f'loss.type "{name}" is for the absorbing graph: the other has no masks')
    return CodeProbabilities(graph, is_told_sigma=name == "masked")
