"""The exact cost of sequences under an autoregressive model: in batches, on the mesh.

Letters: B rows of a batch, N sequences, L length, W windows.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import numpy as np

from sedd_jax.conditions import Condition
from sedd_jax.likelihood.held_out import SplitWindows
from sedd_jax.model import ModelDef
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.parallel.consensus import compile_for_all
from sedd_jax.state import Params
from tokenizer_bridge.token_dataset.vectors import Vectors


def token_nats(
    run: ModelDef,
    params: Params,
    tokens_NxL: np.ndarray,
    *,
    batch_size: int,
    condition_N: Condition | None = None,
    on_rows: Callable[[int], None] = lambda num_rows: None,
) -> np.ndarray:
    """−log p of every token given those before it in its sequence, (N, L) float64.

    Args:
      batch_size: sequences at a time; rounded up to what the mesh divides.
      condition_N: what a conditional model is told of each.
      on_rows: called with the number of sequences just measured, N in all.

    Raises UserError for a model that is not autoregressive.
    """
    num, length = tokens_NxL.shape
    batch_size = mesh_lib.divisible(run.mesh, min(batch_size, num))
    mesh_lib.check_model(run.mesh, run.network.num_heads, length)
    sharding, measure = mesh_lib.batch_sharding(run.mesh), _make_measure(run)
    # A code that the model does not know is the mask, which costs nothing.
    values_N = (np.minimum(tokens_NxL, run.graph.num_codes).astype(np.int32), condition_N)

    def place(rows_N: np.ndarray, row_B: np.ndarray) -> jax.Array:
        values_B = rows_N[row_B]
        return mesh_lib.place_rows(sharding, values_B.shape, np.arange(len(row_B)), values_B)

    nats_NxL = np.zeros((num, length))
    for first in range(0, num, batch_size):
        row_B = np.arange(first, first + batch_size) % num  # wraps to fill the last one
        arguments = jax.tree.map(functools.partial(place, row_B=row_B), values_N)
        if first == 0:
            compile_for_all(measure, params, *arguments)
        num_new = min(batch_size, num - first)
        nats_NxL[first : first + num_new] = np.asarray(measure(params, *arguments))[:num_new]
        on_rows(num_new)
    return nats_NxL


def window_nats(
    run: ModelDef,
    params: Params,
    windows: SplitWindows,
    *,
    batch_size: int,
    tags_T: Sequence[Sequence[str]] | None = None,
    vectors_T: Sequence[Vectors] | None = None,
    on_windows: Callable[[int], None] = lambda num_windows: None,
) -> np.ndarray:
    """−log p of the tokens of each window that count, given all that stands before them there (W,).

    Args:
      tags_T, vectors_T: what a conditional model is told of every track, its own by default.
      on_windows: called with the number of windows just measured, W in all.
    """
    condition_T = run.vocabulary.condition(
        windows.tags if tags_T is None else tags_T,
        vectors_B=windows.vectors if vectors_T is None else vectors_T,
    )
    nats_WxL = token_nats(
        run,
        params,
        windows.tokens_WxL,
        batch_size=batch_size,
        condition_N=jax.tree.map(lambda values_T: values_T[windows.track_W], condition_T),
        on_rows=on_windows,
    )
    return windows.total(nats_WxL)


@functools.lru_cache(maxsize=8)
def _make_measure(run: ModelDef) -> Callable[..., jax.Array]:
    """The compiled cost of a batch's tokens, (B, L), whole on every device."""

    @functools.partial(jax.jit, out_shardings=mesh_lib.replicated(run.mesh))
    def measure(params, tokens_BxL, condition):
        return run.token_nats(params, tokens_BxL, condition=condition)

    return measure
