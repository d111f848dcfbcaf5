"""Known positions: the reverse process of the others, given the tokens that stand there.

Absorbing: a known position is never masked, so that whatever is drawn is drawn given it. The
network has met masks in the share that belongs to a noise level, and here meets another. But the
exact score is p(code | the tokens that are not masked) / expm1(sigma), whose numerator knows no
time (RADD: Ou et al. 2024, arXiv 2406.03736, Theorem 1): it can be asked for at the noise level of
the share that is there, and brought to the level of the step, whose rates it makes.

Uniform: a step from time t finds known positions at a draw of p_{t|0}(. | known). Such replacement
conditions on the noisy tokens and not on the known ones, which leaves a bias that neither exact
scores nor more steps cure (Trippe et al. 2023, arXiv 2206.04119, section 4). Sweeps make it
smaller: each step is taken several times, from t to t - dt, forward to t again and so on, known
positions noised anew each time (RePaint: Lugmayr et al. 2022, arXiv 2201.09865), at as many times
the cost.

Letters: B rows, L length, V vocabulary (with the mask, where there is one).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from sedd_jax.diffusion.graph import Graph
from sedd_jax.diffusion.guidance import Guided
from sedd_jax.diffusion.loss import LogScoreFn
from sedd_jax.diffusion.noise import Noise, masked_share_sigma

TIMES = ("masked_share", "schedule")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Known:
    """Tokens that samples are to have at some of their positions; B rows, of a batch or of all.

    tokens_BxL: integers; those of unknown positions do not matter. A token that the model lacks
      (beyond `graph.num_codes`) comes back like any other, but the network is not told of it: to
      it, the position is unknown.
    is_known_BxL: bool. A row with no known position is sampled as if there were none at all.
    time: the noise level that the network of an absorbing model is told: that of the masked share
      that it sees ("masked_share"), or that of the step ("schedule").
    sweeps: how often each step is taken.

    Raises ValueError for another `time`, or fewer sweeps than one.
    """

    tokens_BxL: Any
    is_known_BxL: Any
    time: str = dataclasses.field(default="masked_share", metadata={"static": True})
    sweeps: int = dataclasses.field(default=1, metadata={"static": True})

    def __post_init__(self):
        if self.time not in TIMES:
            raise ValueError(f"time must be one of {TIMES}, got {self.time!r}")
        if self.sweeps < 1:
            raise ValueError(f"sweeps must be at least 1, got {self.sweeps}")

    @property
    def length(self) -> int:
        """L."""
        return self.tokens_BxL.shape[1]

    def rows(self, index_B: np.ndarray, place: Callable[[np.ndarray], jax.Array]) -> "Known":
        """The known positions of some of the samples, put where their batch is."""
        return jax.tree.map(lambda values_N: place(values_N[index_B]), self)

    def is_told(self, graph: Graph) -> jax.Array:
        """True where the network sees the known token, (B, L)."""
        return self.is_known_BxL & (self.tokens_BxL < graph.num_codes)

    def put(
        self, graph: Graph, key_B: jax.Array, x_BxL: jax.Array, sigma_B: jax.Array
    ) -> jax.Array:
        """x_BxL with known positions as a step at noise sigma_B is to find them."""
        seen_BxL = graph.known_at(key_B, self.tokens_BxL.astype(jnp.int32), sigma_B)
        return jnp.where(self.is_told(graph), seen_BxL, x_BxL)

    def restore(self, x_BxL: jax.Array) -> jax.Array:
        """x_BxL with every known token as it was."""
        return jnp.where(self.is_known_BxL, self.tokens_BxL.astype(jnp.int32), x_BxL)

    def scores(
        self, graph: Graph, noise: Noise, log_score_fn: LogScoreFn | Guided
    ) -> LogScoreFn | Guided:
        """The function that steps given the known positions ask for scores."""
        if graph.mask_id is None or self.time == "schedule":
            return log_score_fn
        is_given_B = self.is_told(graph).any(-1)
        if isinstance(log_score_fn, Guided):
            pair_fn = at_masked_share(graph.mask_id, noise, log_score_fn.pair_fn, is_given_B)
            return dataclasses.replace(log_score_fn, pair_fn=pair_fn)
        return at_masked_share(graph.mask_id, noise, log_score_fn, is_given_B)


def at_masked_share(
    mask_id: int, noise: Noise, score_fn: Callable, is_given_B: jax.Array
) -> Callable:
    """A `score_fn`, whose network is told the noise level of the masked share in some rows.

    score_fn: (x_BxL, sigma_B) → log-scores (B, L, V), or a tuple of such. A row where m of L
    positions are masked is at -log(1 - m / L), within the levels of training. What comes back are
    log-scores at sigma_B all the same: it alone decides when masks turn.
    """

    def fn(x_BxL: jax.Array, sigma_B: jax.Array):
        share_B = (x_BxL == mask_id).mean(-1)
        seen_B = masked_share_sigma(noise, share_B)
        seen_B = jnp.where(is_given_B, seen_B, sigma_B)
        shift_B = jnp.log(jnp.expm1(seen_B)) - jnp.log(jnp.expm1(sigma_B))

        def shift(log_score_BxLxV):
            here_BxLxV = jnp.arange(log_score_BxLxV.shape[-1])[None, None] == x_BxL[..., None]
            return jnp.where(here_BxLxV, 0.0, log_score_BxLxV + shift_B[:, None, None])

        return jax.tree.map(shift, score_fn(x_BxL, seen_B))

    return fn
