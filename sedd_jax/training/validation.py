"""Validation while training: bits per token of a fixed share of a split, on EMA weights."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping

from absl import logging

from sedd_jax.errors import UserError
from sedd_jax.likelihood import cost, elbo
from sedd_jax.likelihood.held_out import cut_windows
from sedd_jax.model import ModelDef
from sedd_jax.parallel.consensus import any_process
from sedd_jax.state import Params
from tokenizer_bridge.token_dataset.intervals import Estimate, per_token
from tokenizer_bridge.token_dataset.records import TokenDataset

RISING = 3  # validations in a row above the lowest one, of which one is soon there by chance


@dataclasses.dataclass(frozen=True)
class Measurement:
    """The result of a validation.

    bits_per_token: the bound, or an autoregressive model's exact ones; bits_by_t: the bound's
    integrand by noise level, "0.0-0.1" → bits.
    """

    bits_per_token: Estimate
    bits_by_t: Mapping[str, float]

    def metrics(self) -> dict[str, float]:
        return {"validation_bits_per_token": self.bits_per_token.mean} | {
            f"validation_bits_by_t/{name}": bits for name, bits in self.bits_by_t.items()
        }


def levels_per_window(num_windows: int) -> int:
    """The fewest noise levels a window, which are stratified over t, that leave no part of t empty.

    With n levels a window misses a given tenth with probability 1 - n / 10 (with 10: never); all
    windows together shall miss any with less than one in 10,000. That takes 52 windows at n = 2.
    """
    bins = elbo.NUM_BINS
    return next(n for n in (2, 5, bins) if bins * (1 - n / bins) ** num_windows < 1e-4)


class Validation:
    """A measurement that can be repeated: the same windows and the same noise each time.

    It takes config.evaluation.num_batches batches of windows, spread over the split, or all.
    measured_on: equal for measurements that can be compared.
    Raises UserError when the split is missing or does not fill a window.
    """

    def __init__(self, run: ModelDef, dataset: TokenDataset, split: str):
        config = run.config
        self._run = run
        # A microbatch is what is known to fit into memory.
        self._batch_size = config.training.batch_size // config.training.accumulation
        windows = cut_windows(dataset, split, config.model.length)
        self._windows = windows.spread(config.evaluation.num_batches * self._batch_size)
        is_exact = run.is_autoregressive
        self._num_levels = 0 if is_exact else levels_per_window(len(self._windows))
        tokens = self._windows.tokens_WxL.tobytes() + self._windows.counted_W.tobytes()
        self.measured_on = hashlib.sha256(tokens + bytes([self._num_levels])).hexdigest()[:16]

    def measure(self, params: Params) -> Measurement:
        """The bound, and the parts of t that it comes from; or what is exact, in no parts."""
        measured = cost.of_windows(
            self._run,
            params,
            self._windows,
            num_levels=self._num_levels,
            batch_size=self._batch_size,
        )
        bits_W, windows = measured.nats_W / math.log(2), self._windows
        return Measurement(
            per_token(bits_W, windows.counted_W, windows.artist_W), measured.bits_by_t
        )


class Trend:
    """The validations of a run. lowest: (bits, step) of the lowest so far, if any."""

    def __init__(self, lowest: tuple[float, int] | None = None):
        self._bits, self._step = lowest or (math.inf, 0)
        self._num_higher, self._warned = 0, False

    def add(self, step: int, bits: float) -> str | None:
        """Takes a validation; returns a warning, once, when RISING in a row are not lowest."""
        if bits < self._bits:
            self._bits, self._step, self._num_higher = bits, step, 0
            return None
        self._num_higher += 1
        if self._warned or self._num_higher < RISING:
            return None
        self._warned = True
        return (
            f"validation has risen from {self._bits:.4f} bits per token at step {self._step:,} to "
            f"{bits:.4f}: the model learns its training tracks by heart"
        )


def make_validation(run: ModelDef, dataset: TokenDataset, split: str) -> Validation | None:
    """The validation that the config asks for, or, with a warning, None where the data has none.

    None at all processes where one cannot have it, since all measure together; and none for a run
    that distils, whose bound tells only how far it has left the likelihood behind.
    """
    if not run.config.evaluation.every or run.distillation:
        return None
    validation, reason = None, "another process cannot have it"
    try:
        validation = Validation(run, dataset, split)
    except UserError as error:
        reason = str(error)
    if any_process(validation is None):
        logging.warning("training without validation: %s", reason)
        return None
    return validation
