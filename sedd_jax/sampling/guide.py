"""Guides of samples: the conditions that they are to meet, and the scores that follow from them."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from sedd_jax.conditions import Condition
from sedd_jax.diffusion.guidance import Guided, weight_at
from sedd_jax.diffusion.loss import LogScoreFn
from sedd_jax.model import ModelDef
from sedd_jax.state import Params


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Guide:
    """Conditions of samples, a row a sample: of N samples, or of those of a batch.

    condition: see sedd_jax/conditions.py. other, weight, schedule: those of guidance
    (sedd_jax/diffusion/guidance.py), a condition, [] fp32 and a name; other is None for none, which
    takes half the time.
    """

    condition: Condition
    other: Condition | None = None
    weight: jax.Array | np.floating = np.float32(1)
    schedule: str = dataclasses.field(default="constant", metadata={"static": True})

    def rows(self, index_B: np.ndarray, place: Callable[[np.ndarray], jax.Array]) -> "Guide":
        """The guide of some of the samples, put where their batch is."""
        condition, other = jax.tree.map(
            lambda values_N: place(values_N[index_B]), (self.condition, self.other)
        )
        return dataclasses.replace(self, condition=condition, other=other)


def paired(guide: Guide) -> Condition:
    """The conditions of both models, (2B, …): the two of a sample are neighbours.

    So they are on the same device.
    """
    return jax.tree.map(
        lambda own, other: jnp.stack([own, other], 1).reshape(-1, *own.shape[1:]),
        guide.condition,
        guide.other,
    )


def make_log_score_fn(run: ModelDef, params: Params, guide: Guide | None) -> LogScoreFn | Guided:
    """The function that a sampler asks for scores: the network, told the guide of its rows."""
    if guide is None:
        return functools.partial(run.log_score, params)
    if guide.other is None:
        return functools.partial(run.log_score, params, condition=guide.condition)
    condition = paired(guide)

    def pair_fn(x_BxL, sigma_B):
        twice = (jnp.repeat(x_BxL, 2, axis=0), jnp.repeat(sigma_B, 2, axis=0))
        log_score_2BxLxV = run.log_score(params, *twice, condition=condition)
        log_score_Bx2xLxV = log_score_2BxLxV.reshape(-1, 2, *log_score_2BxLxV.shape[1:])
        return log_score_Bx2xLxV[:, 0], log_score_Bx2xLxV[:, 1]

    return Guided(pair_fn, functools.partial(weight_at, guide.schedule, guide.weight))
