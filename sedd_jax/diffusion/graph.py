"""The two forward processes of SEDD, as continuous-time Markov chains on one token.

Source: Lou, Meng & Ermon (2024), arXiv 2310.16834. Every position of a sequence moves on its own,
at the rates dsigma(t) Q (eq. 11, 14). Q is one of

- `Absorbing` (eq. 16): a code turns into the mask at rate 1; the mask stays;
- `Uniform` (eq. 15, divided by V): a code turns into each of the V codes at rate 1/V.

A score s_y stands for the ratio p_t(y) / p_t(x) of the sequence with one position changed to y and
the sequence x as it is: 1 at the current token, where a log-score is 0.

Letters: B batch, L length, V vocabulary (with the mask, where there is one). Tokens are int32;
everything else is fp32. Noise has one entry a row (sigma_B), and so have keys: key_B is an array of
B typed keys, so that a row's draw depends on its own key and on nothing else in the batch.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.jump import JumpLaw, fold_in_rows, uniform_rows
from sedd_jax.diffusion.score_sums import score_sums


@dataclasses.dataclass(frozen=True)
class Absorbing:
    """Tokens are forgotten by turning into the mask, the last entry of the vocabulary."""

    num_codes: int

    @property
    def vocab_size(self) -> int:
        """V: the codes and the mask."""
        return self.num_codes + 1

    @property
    def mask_id(self) -> int:
        return self.num_codes

    def perturb(self, key_B: jax.Array, x0_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """A draw x_BxL of p_{t|0}(. | x0): a token is masked with probability 1 - exp(-sigma)."""
        return self.mask(uniform_rows(key_B, x0_BxL.shape[1]), x0_BxL, sigma_B)

    def mask(self, u_BxL: jax.Array, x0_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """x_BxL in which a token is masked where its uniform is below 1 - exp(-sigma)."""
        moves_BxL = u_BxL < -jnp.expm1(-sigma_B)[:, None]
        return jnp.where(moves_BxL, self.mask_id, x0_BxL)

    def known_at(self, key_B: jax.Array, x0_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """Known tokens as sampling given them sees them, x_BxL: they are never masked."""
        del key_B, sigma_B
        return x0_BxL

    def sample_limit(self, key_B: jax.Array, length: int) -> jax.Array:
        """The limit x_BxL that sampling starts from: the mask everywhere."""
        return jnp.full((key_B.shape[0], length), self.mask_id, jnp.int32)

    def pinned_sigma(self, sigma_B: jax.Array, last_sigma: jax.Array) -> jax.Array:
        """Noise of the process given that it ends in its limit at noise `last_sigma`; may be inf.

        Given that all is masked at the end, a token is masked before with probability
        (1 - exp(-sigma)) / (1 - exp(-last_sigma)). The reverse rates are those of the free process.
        """
        return -jnp.log1p(-jnp.expm1(-sigma_B) / jnp.expm1(-last_sigma))

    def prior_kl(self, last_sigma: jax.Array) -> jax.Array:
        """KL from a token of the pinned process at its end to the limit: both are masks."""
        return jnp.zeros_like(last_sigma)

    def euler_law(self, x_BxL: jax.Array, score_sum_BxL: jax.Array, dsigma_B: jax.Array) -> JumpLaw:
        """Law of a step at constant rates through the noise dsigma (eq. 17)."""
        gain_BxL = jnp.where(x_BxL == self.mask_id, dsigma_B[:, None], 0.0)
        return JumpLaw(jnp.maximum(1 - gain_BxL * score_sum_BxL, 0.0), gain_BxL)

    def tweedie_law(
        self, x_BxL: jax.Array, score_sum_BxL: jax.Array, dsigma_B: jax.Array
    ) -> JumpLaw:
        """Posterior of a step that removes the noise dsigma (eq. 19)."""
        return self.euler_law(x_BxL, score_sum_BxL, jnp.expm1(dsigma_B))

    def denoise_law(
        self, x_BxL: jax.Array, score_sum_BxL: jax.Array, sigma_B: jax.Array
    ) -> JumpLaw:
        """Posterior of the data (eq. 18): that of a step removing all noise, less the mask."""
        del score_sum_BxL, sigma_B
        masked_BxL = (x_BxL == self.mask_id).astype(jnp.float32)
        return JumpLaw(1 - masked_BxL, masked_BxL)

    def score_entropy(
        self, log_score_BxLxV: jax.Array, sigma_B: jax.Array, x_BxL: jax.Array, x0_BxL: jax.Array
    ) -> jax.Array:
        """Denoising score entropy of each position before the weight dsigma, (B, L).

        Only the mask can turn back (weight 1); its true ratios are 1 / expm1(sigma) at x0 and zero
        at every other code. The constant K(a) = a (log a - 1) (eq. 5) makes it zero at the truth.
        """
        ratio_Bx1 = 1 / jnp.expm1(sigma_B)[:, None]
        masked_BxL = x_BxL == self.mask_id
        entropy_BxL = score_sums(
            self.mask_id,
            log_score_BxLxV,
            x_BxL,
            x0_BxL,
            exp_weight_BxL=masked_BxL.astype(jnp.float32),
            log_weight_BxL=None,
            x0_weight_BxL=jnp.where(masked_BxL, ratio_Bx1, 0.0),
        )
        return entropy_BxL + jnp.where(masked_BxL, ratio_Bx1 * (jnp.log(ratio_Bx1) - 1), 0.0)


class EntropyWeights(NamedTuple):
    """Score entropy under the uniform graph, of scores s, is the sum over codes y other than x of

    s_y / V - log log s_y, less x0 log s_{x0}, plus constant.
    """

    log_BxL: jax.Array
    x0_BxL: jax.Array
    constant_BxL: jax.Array


@dataclasses.dataclass(frozen=True)
class Uniform:
    """Tokens are forgotten by turning into any code, each as likely as the next."""

    num_codes: int

    @property
    def vocab_size(self) -> int:
        """V: the codes."""
        return self.num_codes

    @property
    def mask_id(self) -> None:
        """There is no mask."""
        return None

    def perturb(self, key_B: jax.Array, x0_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """A draw x_BxL of p_{t|0}(. | x0): a token is redrawn with probability 1 - exp(-sigma)."""
        length = x0_BxL.shape[1]
        u_BxL = uniform_rows(fold_in_rows(key_B, 0), length)
        redrawn_BxL = self.sample_limit(fold_in_rows(key_B, 1), length)
        return jnp.where(u_BxL < -jnp.expm1(-sigma_B)[:, None], redrawn_BxL, x0_BxL)

    def known_at(self, key_B: jax.Array, x0_BxL: jax.Array, sigma_B: jax.Array) -> jax.Array:
        """Known tokens as sampling given them sees them, x_BxL: a draw of p_{t|0}(. | x0)."""
        return self.perturb(key_B, x0_BxL, sigma_B)

    def sample_limit(self, key_B: jax.Array, length: int) -> jax.Array:
        """A draw x_BxL of the limit that sampling starts from: independent uniform codes."""
        draw = jax.vmap(lambda key: jax.random.randint(key, (length,), 0, self.vocab_size))
        return draw(key_B)

    def pinned_sigma(self, sigma_B: jax.Array, last_sigma: jax.Array) -> jax.Array:
        """Noise of the process that is compared with the limit at `last_sigma`: sigma itself."""
        del last_sigma
        return sigma_B

    def prior_kl(self, last_sigma: jax.Array) -> jax.Array:
        """KL from p_{1|0}(. | x0) of a token to the limit, the uniform distribution; nats."""
        kept, others = jnp.exp(-last_sigma), self.vocab_size - 1
        here = (1 + others * kept) * jnp.log1p(others * kept)
        elsewhere = others * (1 - kept) * jnp.log1p(-kept)
        return (here + elsewhere) / self.vocab_size

    def euler_law(self, x_BxL: jax.Array, score_sum_BxL: jax.Array, dsigma_B: jax.Array) -> JumpLaw:
        """Law of a step at constant rates through the noise dsigma (eq. 17)."""
        gain_BxL = jnp.broadcast_to(dsigma_B[:, None] / self.vocab_size, x_BxL.shape)
        return JumpLaw(jnp.maximum(1 - gain_BxL * score_sum_BxL, 0.0), gain_BxL)

    def tweedie_law(
        self, x_BxL: jax.Array, score_sum_BxL: jax.Array, dsigma_B: jax.Array
    ) -> JumpLaw:
        """Posterior of a step that removes the noise dsigma (eq. 19), no probability negative."""
        del x_BxL
        mean_score_BxL = (1 + score_sum_BxL) / self.vocab_size
        gone_Bx1 = -jnp.expm1(-dsigma_B)[:, None]
        # Eq. 19 multiplies exp(-dsigma Q) s, which is exp(dsigma) (s - floor), with
        # exp(dsigma Q)(x, y), which is stay_Bx1 at y = x.
        floor_BxL = gone_Bx1 * mean_score_BxL
        stay_Bx1 = 1 - gone_Bx1 + gone_Bx1 / self.vocab_size
        return JumpLaw(
            stay_BxL=jnp.exp(dsigma_B)[:, None] * stay_Bx1 * jnp.maximum(1 - floor_BxL, 0.0),
            gain_BxL=jnp.broadcast_to(
                jnp.expm1(dsigma_B)[:, None] / self.vocab_size, floor_BxL.shape
            ),
            floor_BxL=floor_BxL,
        )

    def denoise_law(
        self, x_BxL: jax.Array, score_sum_BxL: jax.Array, sigma_B: jax.Array
    ) -> JumpLaw:
        """Posterior of the data (eq. 18): that of a step removing all noise."""
        return self.tweedie_law(x_BxL, score_sum_BxL, sigma_B)

    def score_entropy(
        self, log_score_BxLxV: jax.Array, sigma_B: jax.Array, x_BxL: jax.Array, x0_BxL: jax.Array
    ) -> jax.Array:
        """Denoising score entropy of each position before the weight dsigma, (B, L)."""
        weights = self.entropy_weights(sigma_B, x_BxL, x0_BxL)
        entropy_BxL = score_sums(
            self.mask_id,
            log_score_BxLxV,
            x_BxL,
            x0_BxL,
            exp_weight_BxL=jnp.full(x_BxL.shape, 1 / self.vocab_size, jnp.float32),
            log_weight_BxL=weights.log_BxL,
            x0_weight_BxL=weights.x0_BxL,
        )
        return entropy_BxL + weights.constant_BxL

    def entropy_weights(
        self, sigma_B: jax.Array, x_BxL: jax.Array, x0_BxL: jax.Array
    ) -> EntropyWeights:
        """The weights of what a score entropy is made of.

        Every other code has weight 1/V. With r = p(y | x0) / p(x0 | x0) < 1 for y != x0, the true
        ratios are r where the token has not moved; where it has, 1/r at x0 and 1 elsewhere. The
        constant K(a) = a (log a - 1) (eq. 5) makes it zero at the truth.
        """
        vocab = self.vocab_size
        # 1/r = 1 + V / expm1(sigma). The published r = 1 - V / (expm1(sigma) + V) loses its digits
        # at small sigma; with V = 4096 and sigma = 1e-4 it is 0 in fp32, and its log infinite.
        excess_Bx1 = vocab / jnp.expm1(sigma_B)[:, None]
        inverse_Bx1, log_inverse_Bx1 = 1 + excess_Bx1, jnp.log1p(excess_Bx1)
        ratio_Bx1 = 1 / inverse_Bx1
        unmoved_BxL = x_BxL == x0_BxL
        constant_BxL = jnp.where(
            unmoved_BxL,
            (vocab - 1) * ratio_Bx1 * (-log_inverse_Bx1 - 1),
            inverse_Bx1 * (log_inverse_Bx1 - 1) - (vocab - 2),
        )
        return EntropyWeights(
            log_BxL=jnp.where(unmoved_BxL, ratio_Bx1, 1.0) / vocab,
            x0_BxL=jnp.where(unmoved_BxL, 0.0, excess_Bx1 / vocab),
            constant_BxL=constant_BxL / vocab,
        )


Graph = Absorbing | Uniform


def mask_of(graph: Graph) -> int:
    """The mask's place in the vocabulary. Raises ValueError for a graph that has none."""
    if graph.mask_id is None:
        raise ValueError("the uniform graph has no mask")
    return graph.mask_id


def make_graph(name: str, num_codes: int) -> Graph:
    """The graph called `name`, "absorbing" or "uniform", over so many codes; else ValueError."""
    if name == "absorbing":
        return Absorbing(num_codes)
    if name == "uniform":
        return Uniform(num_codes)
    raise ValueError(f'graph.type must be "absorbing" or "uniform", got "{name}"')
