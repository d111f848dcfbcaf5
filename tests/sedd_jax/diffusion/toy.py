"""A distribution small enough to know all about: 3 positions of 4 codes that depend on each other.

A row holds many independent triples of it, so that one row's key draws many samples: x_BxL with
L = 3 x (number of triples). S counts the states of a triple, V^3.
"""

import jax
import jax.numpy as jnp
import numpy as np

from sedd_jax.diffusion.graph import Absorbing, Graph
from sedd_jax.diffusion.loss import LogScoreFn

NUM_CODES = 4


def joint() -> np.ndarray:
    """p(x), (4, 4, 4): mostly the runs (c, c + 1, c + 2) mod 4, a little of everything."""
    p = 0.2 * np.random.default_rng(0).dirichlet(np.ones(NUM_CODES**3)).reshape([NUM_CODES] * 3)
    for c, share in enumerate([0.4, 0.2, 0.15, 0.05]):
        p[c, (c + 1) % NUM_CODES, (c + 2) % NUM_CODES] += share
    return p


def draw(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """x_BxL of (B, L / 3) triples drawn from the toy."""
    state = rng.choice(NUM_CODES**3, size=(shape[0], shape[1] // 3), p=joint().ravel())
    # Not np.unravel_index, which NumPy 2.4 gets wrong for (B, 1) of more than 8,192 rows.
    codes = [state // NUM_CODES**power % NUM_CODES for power in (2, 1, 0)]
    return np.stack(codes, -1).reshape(shape).astype(np.int32)


def histogram(x_BxL: jax.Array) -> np.ndarray:
    """Share of each of the 64 triples among those of x, (4, 4, 4)."""
    state = np.asarray(x_BxL).reshape(-1, 3) @ [NUM_CODES**2, NUM_CODES, 1]
    return (np.bincount(state, minlength=NUM_CODES**3) / len(state)).reshape([NUM_CODES] * 3)


def log_score_fn(graph: Graph, power: float = 1.0) -> LogScoreFn:
    """The exact log-scores of the toy, times `power` (1 is right)."""
    vocab = graph.vocab_size
    p_VxVxV = np.pad(joint(), [(0, vocab - NUM_CODES)] * 3)
    if isinstance(graph, Absorbing):
        limit_V = jnp.arange(vocab) == graph.mask_id
    else:
        limit_V = jnp.full(vocab, 1 / vocab)

    def row(x_L, sigma):
        move_VxV = jnp.exp(-sigma) * jnp.eye(vocab) - jnp.expm1(-sigma) * limit_V[None]
        log_p = jnp.log(jnp.einsum("abc,ax,by,cz->xyz", p_VxVxV, move_VxV, move_VxV, move_VxV))
        # neighbour_3xVxVxVxV[i, a, b, c, y]: log p of abc with position i changed to y.
        neighbour_3xVxVxVxV = jnp.stack(
            [jnp.broadcast_to(jnp.expand_dims(jnp.moveaxis(log_p, i, -1), i), [vocab] * 4)
             for i in range(3)]
        )  # fmt: skip
        ratio_Sx3xV = jnp.moveaxis(neighbour_3xVxVxVxV - log_p[None, ..., None], 0, 3)
        a, b, c = x_L.reshape(-1, 3).T
        return power * ratio_Sx3xV[a, b, c].reshape(-1, vocab)

    return jax.vmap(row)
