"""A model that knows all about its data: a stationary Markov chain of four codes."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from sedd_jax.model import ModelDef

# No move is impossible: two neighbours may turn in one step, and know nothing of each other.
MOVE_4x4 = np.array(
    [[0.1, 0.7, 0.1, 0.1], [0.1, 0.1, 0.7, 0.1], [0.2, 0.1, 0.1, 0.6], [0.5, 0.1, 0.3, 0.1]]
)
FIRST_4 = np.linalg.matrix_power(MOVE_4x4, 100)[0]


class Chain(ModelDef):
    """A definition of four codes and a mask, whose scores are exact; parameters do not matter."""

    @classmethod
    def of(cls, run: ModelDef) -> "Chain":
        """The chain with all else of a run of four codes."""
        return cls(**{field.name: getattr(run, field.name) for field in dataclasses.fields(run)})

    def log_score(self, params, x_BxL, sigma_B, **_):
        is_mask_BxL = x_BxL == 4
        seen_LxBx4 = jnp.where(is_mask_BxL[..., None], 1.0, jnp.eye(5)[x_BxL][..., :4]).swapaxes(
            0, 1
        )

        def forward(before_Bx4, seen_Bx4):  # p(x_i, what is seen before i), and of the next
            return (before_Bx4 * seen_Bx4) @ MOVE_4x4, before_Bx4

        def backward(after_Bx4, seen_Bx4):  # p(what is seen after i | x_i)
            return (after_Bx4 * seen_Bx4) @ MOVE_4x4.T, after_Bx4

        first_Bx4 = jnp.broadcast_to(FIRST_4.astype(np.float32), seen_LxBx4.shape[1:])
        before_LxBx4 = jax.lax.scan(forward, first_Bx4, seen_LxBx4)[1]
        after_LxBx4 = jax.lax.scan(backward, jnp.ones_like(first_Bx4), seen_LxBx4, reverse=True)[1]
        p_BxLx4 = (before_LxBx4 * after_LxBx4).swapaxes(0, 1)
        p_BxLx4 /= p_BxLx4.sum(-1, keepdims=True)
        p_BxLx5 = jnp.pad(p_BxLx4 / jnp.expm1(sigma_B)[:, None, None], [(0, 0), (0, 0), (0, 1)])
        return jnp.where(jnp.arange(5)[None, None] == x_BxL[..., None], 0.0, jnp.log(p_BxLx5))


def draw(num: int, length: int, seed: int = 0) -> np.ndarray:
    """Pieces (num, length) of the chain, uint16."""
    rng = np.random.default_rng(seed)
    x_NxT = np.zeros((num, length), np.uint16)
    x_NxT[:, 0] = rng.choice(4, num, p=FIRST_4)
    cumulated_4x4 = MOVE_4x4.cumsum(1)
    for place in range(1, length):
        u_Nx1 = rng.random((num, 1))
        x_NxT[:, place] = (cumulated_4x4[x_NxT[:, place - 1]] < u_Nx1).sum(1)
    return x_NxT
