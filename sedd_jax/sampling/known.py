"""Known positions as they are asked for, checked: N samples of length L."""

import numpy as np

from sedd_jax.diffusion.known import Known
from sedd_jax.errors import UserError


def make_known(
    tokens: np.ndarray | None,
    is_known: np.ndarray | None,
    num_samples: int,
    num_codes: int,
    *,
    time: str = "masked_share",
    sweeps: int = 1,
) -> Known:
    """The known positions of `num_samples` samples, (N, L).

    Args:
      tokens, is_known: (L,) for all samples or (N, L): integers below num_codes wherever is_known,
        bool, says so.
      num_codes: of the codec.
      time, sweeps: as `Known` has them.

    Raises:
      UserError: one of them is None, shapes do not fit, or the codec has no such tokens.
      ValueError: there is no such time, or sweeps are fewer than one.
    """
    if tokens is None or is_known is None:
        raise UserError("known tokens need is_known, which says where they are, and it them")
    try:
        tokens, is_known = np.asarray(tokens), np.asarray(is_known)
    except ValueError as error:  # rows of different lengths
        raise UserError("known tokens must have shape (L,) or (N, L): the rows differ") from error
    if tokens.dtype.kind not in "iu" or is_known.dtype != bool:
        raise UserError(
            f"known tokens must be integers and is_known bool, not {tokens.dtype} and "
            f"{is_known.dtype}"
        )
    shapes = ((num_samples, tokens.shape[-1] if tokens.ndim else 0), tokens.shape[-1:])
    if tokens.shape not in shapes or is_known.shape not in shapes or not tokens.shape[-1:]:
        raise UserError(
            f"known tokens and is_known must have shape (L,) or ({num_samples}, L), not "
            f"{tokens.shape} and {is_known.shape}"
        )
    tokens_NxL, is_known_NxL = (np.broadcast_to(array, shapes[0]) for array in (tokens, is_known))
    tokens_NxL = np.where(is_known_NxL, tokens_NxL, 0)
    if tokens_NxL.size and not 0 <= tokens_NxL.min() <= tokens_NxL.max() < num_codes:
        raise UserError(
            f"known tokens go from {tokens_NxL.min()} to {tokens_NxL.max()}, the codec's from 0 to "
            f"{num_codes - 1}"
        )
    return Known(tokens_NxL.astype(np.uint16), is_known_NxL, time, sweeps)
