"""An autoregressive run as a baseline: its exact cost of the tokens that another is measured on.

Letters: W windows of the other run, w of its own, T tracks.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sedd_jax.errors import UserError
from sedd_jax.likelihood import exact
from sedd_jax.likelihood.held_out import SplitWindows, cut_windows
from sedd_jax.model import ModelDef
from sedd_jax.progress import progress_bar
from sedd_jax.state import Params
from sedd_jax.weights import exported
from tokenizer_bridge.token_dataset.records import TokenDataset


@dataclass(frozen=True)
class AutoregressiveRun:
    """A run's newest checkpoint, whose model is autoregressive."""

    workdir: str
    run: ModelDef
    params: Params
    step: int

    @classmethod
    def load(cls, workdir: str | Path, step: int | str | None = None) -> "AutoregressiveRun":
        """The run of a directory. Raises UserError when there is none, or it is of diffusion."""
        run, params, step = exported.load(workdir, step)
        if not run.is_autoregressive:
            raise UserError(
                f"{workdir} holds a diffusion model: an autoregressive one is needed here, which "
                "config.model.type makes"
            )
        return cls(str(workdir), run, params, step)

    def require(self, dataset: TokenDataset, num_codes: int) -> None:
        """Raises UserError for data, or a number of codes, that it does not speak of."""
        dataset.require_codec(self.run.codec)
        self.run.vocabulary.require_widths(dataset)
        if self.run.graph.num_codes != num_codes:
            raise UserError(
                f"{self.workdir} knows {self.run.graph.num_codes} codes, the model beside it "
                f"{num_codes}: their bits are not of the same tokens"
            )

    def bits(
        self, dataset: TokenDataset, split: str, windows: SplitWindows, batch_size: int | None
    ) -> np.ndarray:
        """−log2 p of the tokens that count in each of another run's windows, (W,).

        It is cut into windows of this run's own length, told what it knows of each track. Where
        that is another length, a track's bits stand in the first of its windows: sums by track are
        right, and those by window are not.
        """
        own = cut_windows(dataset, split, self.run.config.model.length)
        own = own.knowing(self.run.graph.num_codes)
        with progress_bar(len(own), "window", name="autoregressive") as bar:
            nats_w = exact.window_nats(
                self.run,
                self.params,
                own,
                batch_size=batch_size or self.run.config.sampling.batch_size,
                on_windows=bar.update,
            )
        bits_w = nats_w / math.log(2)
        if own.tokens_WxL.shape == windows.tokens_WxL.shape:
            return bits_w
        bits_T = np.bincount(own.track_W, bits_w, len(own.ids))
        track_T, first_T = np.unique(windows.track_W, return_index=True)
        bits_W = np.zeros(len(windows))
        bits_W[first_T] = bits_T[track_T]
        return bits_W

    def describe(self) -> dict[str, Any]:
        return {
            "workdir": self.workdir,
            "step": self.step,
            "length": self.run.config.model.length,
        }
