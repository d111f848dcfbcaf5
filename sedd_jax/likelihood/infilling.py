"""The cost of some tokens of sequences given others, in nats: in batches, on the mesh.

Letters: B rows of a batch, N sequences, L length.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

from sedd_jax.conditions import Condition
from sedd_jax.diffusion.any_order import any_order_nats
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef, Stream
from sedd_jax.parallel import mesh as mesh_lib
from sedd_jax.parallel.consensus import compile_for_all
from sedd_jax.state import Params


def infill_nats(
    run: ModelDef,
    params: Params,
    tokens_NxL: np.ndarray,
    is_charged_NxL: np.ndarray,
    is_known_NxL: np.ndarray,
    *,
    num_levels: int,
    batch_size: int,
    condition_N: Condition | None = None,
) -> np.ndarray:
    """Estimates of a bound on −log p of the charged tokens given the known ones, (N,) float64.

    The random numbers of a sequence are keyed by its place alone: two calls that differ in what is
    known hide the same tokens, so that their difference is a paired one.

    Args:
      is_charged_NxL, is_known_NxL: bool. What is neither is masked; a token that the model lacks
        (`graph.num_codes`) is neither.
      num_levels: network evaluations a sequence.
      batch_size: sequences at a time; rounded up to what the mesh divides.
      condition_N: what a conditional model is told of each.

    Raises UserError for a model without a mask, or a position that is both.
    """
    if run.graph.mask_id is None:
        raise UserError(
            "the cost of some tokens given others is that of absorbing models: the uniform graph "
            "has no mask to hide them behind"
        )
    if (is_charged_NxL & is_known_NxL).any():
        raise UserError("a token is either known or charged for, and some are both")
    num = len(tokens_NxL)
    batch_size = mesh_lib.divisible(run.mesh, min(batch_size, num))
    has_code_NxL = tokens_NxL < run.graph.num_codes
    values_N = (
        np.where(has_code_NxL, tokens_NxL, 0).astype(np.int32),
        is_charged_NxL & has_code_NxL,
        is_known_NxL & has_code_NxL,
        np.arange(num, dtype=np.uint32),
        condition_N,
    )
    sharding, measure = mesh_lib.batch_sharding(run.mesh), _make_measure(run, num_levels)

    def place(rows_N: np.ndarray, row_B: np.ndarray) -> jax.Array:
        values_B = rows_N[row_B]
        return mesh_lib.place_rows(sharding, values_B.shape, np.arange(len(row_B)), values_B)

    nats_N = np.zeros(num)
    for first in range(0, num, batch_size):
        row_B = np.arange(first, first + batch_size) % num
        arguments = jax.tree.map(functools.partial(place, row_B=row_B), values_N)
        if first == 0:
            compile_for_all(measure, params, *arguments)
        num_new = min(batch_size, num - first)
        nats_N[first : first + num_new] = np.asarray(measure(params, *arguments))[:num_new]
    return nats_N


@functools.lru_cache(maxsize=8)
def _make_measure(run: ModelDef, num_levels: int) -> Callable[..., jax.Array]:
    """The compiled cost of a batch, (B,), whole on every device."""

    @functools.partial(jax.jit, out_shardings=mesh_lib.replicated(run.mesh))
    def measure(params, tokens_BxL, is_charged_BxL, is_known_BxL, index_B, condition):
        key = run.stream_key(Stream.EVALUATE)
        return any_order_nats(
            functools.partial(run.log_score, params, condition=condition),
            run.graph,
            run.noise,
            tokens_BxL,
            is_charged_BxL,
            is_known_BxL,
            jax.vmap(functools.partial(jax.random.fold_in, key))(index_B),
            num_levels=num_levels,
        )

    return measure
