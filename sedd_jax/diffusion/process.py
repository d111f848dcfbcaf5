"""The reverse process that samplers take steps of, and one token's law in a step of it.

Letters: B rows, L length.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp

from sedd_jax.diffusion.draws import Draws
from sedd_jax.diffusion.graph import Graph
from sedd_jax.diffusion.guidance import Guided
from sedd_jax.diffusion.jump import LawFn, ReverseStep, make_step
from sedd_jax.diffusion.known import Known
from sedd_jax.diffusion.loss import LogScoreFn
from sedd_jax.diffusion.noise import Noise


class Drawn(NamedTuple):
    """Tokens, and whether each row was drawn from weights that are finite and not all zero."""

    x_BxL: jax.Array
    is_defined_B: jax.Array


@dataclasses.dataclass(frozen=True)
class Process:
    """A reverse process: all that a step depends on beside x, its key and the schedule.

    log_score_fn: of one model, or of two of which one guides the other. draws: how narrow draws
    are; None: as the model has it. known: tokens that the others are drawn given, or None.
    """

    graph: Graph
    noise: Noise
    log_score_fn: LogScoreFn | Guided
    draws: Draws | None = None
    known: Known | None = None

    def reverse_step(
        self,
        x_BxL: jax.Array,
        sigma_B: jax.Array,
        t: jax.Array | float,
        law_fn: LawFn,
        removed_B: jax.Array,
        *,
        is_posterior: bool,
    ) -> ReverseStep:
        """The step from x at t, where the noise is sigma_B, through the noise removed_B.

        One evaluation of the network; of each of the two, where one guides the other.
        """
        if isinstance(self.log_score_fn, Guided):
            return self.log_score_fn.reverse_step(
                self.graph, x_BxL, sigma_B, t, law_fn, removed_B, is_posterior=is_posterior
            )
        return make_step(law_fn, x_BxL, self.log_score_fn(x_BxL, sigma_B), removed_B)

    def draw(self, step: ReverseStep, key_B: jax.Array) -> Drawn:
        """A draw of the step, as narrow as draws are to be."""
        step = self.narrow(step)
        return Drawn(step.draw(key_B), step.is_defined().all(axis=-1))

    def narrow(self, step: ReverseStep) -> ReverseStep:
        """The step from which such draws are made."""
        return step if self.draws is None else self.draws.narrow(step)

    def denoiser(self, x_BxL: jax.Array, t: float) -> ReverseStep:
        """The distribution of a final step from x at t to data."""
        sigma_B = self.noise(jnp.full(x_BxL.shape[0], t)).sigma
        return self.reverse_step(
            x_BxL, sigma_B, t, self.graph.denoise_law, sigma_B, is_posterior=True
        )
