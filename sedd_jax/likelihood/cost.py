"""The cost of held-out windows under a run's model: a bound of diffusion, or what is exact."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sedd_jax.likelihood import elbo, exact
from sedd_jax.likelihood.held_out import SplitWindows
from sedd_jax.model import ModelDef
from sedd_jax.state import Params
from tokenizer_bridge.token_dataset.vectors import Vectors


@dataclass(frozen=True)
class Cost:
    """The cost of W windows.

    nats_W: of the tokens that count, float64: −log p of an autoregressive model, else estimates of
    a bound on it; bits_by_t: the parts of t that the bound comes from ({} where it is exact);
    bits_by_masked_share: of an absorbing model, what a masked token costs (None of others).
    """

    nats_W: np.ndarray
    bits_by_t: Mapping[str, float]
    bits_by_masked_share: Sequence[float | None] | None = None


def of_windows(
    run: ModelDef,
    params: Params,
    windows: SplitWindows,
    *,
    num_levels: int,
    batch_size: int,
    tags_T: Sequence[Sequence[str]] | None = None,
    vectors_T: Sequence[Vectors] | None = None,
    on_windows: Callable[[int], None] = lambda num_windows: None,
) -> Cost:
    """Measures every window.

    num_levels: noise levels per window, of a diffusion model; the rest is as `split_bound` of
    sedd_jax/likelihood/elbo.py has it.
    """
    if run.is_autoregressive:
        nats_W = exact.window_nats(
            run,
            params,
            windows,
            batch_size=batch_size,
            tags_T=tags_T,
            vectors_T=vectors_T,
            on_windows=on_windows,
        )
        return Cost(nats_W, {})
    bound = elbo.split_bound(
        run,
        params,
        windows,
        num_levels=num_levels,
        batch_size=batch_size,
        tags_T=tags_T,
        vectors_T=vectors_T,
        on_windows=on_windows,
    )
    counted_W, by_share = windows.counted_W, None
    if run.graph.mask_id is not None:
        by_share = elbo.bits_by_masked_share(bound, counted_W, run.noise)
    return Cost(bound.nats_W, elbo.bits_by_t(bound, counted_W), by_share)
