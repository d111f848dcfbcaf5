"""Validation while training: the bound on a fixed share of a split, on EMA weights."""

import dataclasses
import math

import numpy as np
from absl import logging

from sedd_jax import likelihood
from sedd_jax.errors import UserError
from sedd_jax.likelihood import Estimate, SplitWindows
from sedd_jax.run import Run
from sedd_jax.state import Params
from tokenizer_bridge.records import TokenDataset

NUM_LEVELS = 2  # noise levels a window


def _spread(windows: SplitWindows, num_windows: int) -> SplitWindows:
    """At most `num_windows` of the windows, spread evenly over the split."""
    available = len(windows.track_W)
    if num_windows >= available:
        return windows
    chosen = np.arange(num_windows) * available // num_windows
    return dataclasses.replace(
        windows,
        tokens_WxL=windows.tokens_WxL[chosen],
        track_W=windows.track_W[chosen],
        part_W=windows.part_W[chosen],
    )


class Validation:
    """A measurement that can be repeated: the same windows and the same noise each time.

    It takes config.evaluation.num_batches batches of windows, spread over the split, or all.
    Raises UserError when the split is missing or has no track of a window's length.
    """

    def __init__(self, run: Run, dataset: TokenDataset, split: str):
        config = run.config
        self._run = run
        # A microbatch is what is known to fit into memory.
        self._batch_size = config.training.batch_size // config.training.accumulation
        windows = likelihood.cut_windows(dataset, split, config.model.length)
        self._windows = _spread(windows, config.evaluation.num_batches * self._batch_size)

    def bits_per_token(self, params: Params) -> Estimate:
        """The bound's mean and standard error, in bits per token."""
        nats_W = likelihood.split_bound_nats(
            self._run, params, self._windows, num_levels=NUM_LEVELS, batch_size=self._batch_size
        )
        length = self._run.config.model.length
        return likelihood.per_token(nats_W / math.log(2), length, self._windows.track_W)


def make_validation(run: Run, dataset: TokenDataset, split: str) -> Validation | None:
    """The validation that the config asks for, or, with a warning, None where the data has none."""
    if not run.config.evaluation.every:
        return None
    try:
        return Validation(run, dataset, split)
    except UserError as error:
        logging.warning("training without validation: %s", error)
        return None
