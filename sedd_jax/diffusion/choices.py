"""The values that losses, samplers, guidance and noise can be given: known without loading JAX."""

import math
from typing import NamedTuple

# The meanings of a network's output, and the graphs that each is for.
PARAMETRISATIONS = {
    "score_entropy": ("absorbing", "uniform"),
    "conditional": ("absorbing",),
    "masked": ("absorbing",),
    "mean": ("uniform",),
}
TIMES = ("uniform", "masked_share")  # what training spreads its times evenly over
STUDENT_SAMPLERS = ("spread", "euler")  # whose few steps distillation can be for
DIVERGENCES = ("reverse", "forward")  # of what a student and its teacher say


class Traits(NamedTuple):
    """The facts about a sampler that settle how it is called.

    schedule: the one that it takes by default, of `STEP_SCHEDULES`. steps: as many as it takes by
    default. evaluations: of the network, a step. denoises: whether one more evaluation after the
    steps draws what they have left. needs_mask: whether it is for the absorbing graph alone.
    strength: the default of its own number (sedd_jax/diffusion/orders.py), at least 0; None: it has
    none. ends_early: whether a sample may be whole before its last step.
    """

    schedule: str = "uniform"
    steps: int = 128
    evaluations: int = 1
    denoises: bool = True
    needs_mask: bool = False
    strength: float | None = None
    ends_early: bool = False


TRAITS = {
    "euler": Traits(),
    "analytic": Traits(),
    "trapezoidal": Traits(steps=64, evaluations=2),
    "spread": Traits("cosine", 32, denoises=False, needs_mask=True),
    "first_hitting": Traits(denoises=False, needs_mask=True),
    "confidence": Traits("cosine", 16, denoises=False, needs_mask=True, strength=4.5),
    "entropy": Traits("cosine", 64, denoises=False, needs_mask=True, strength=1.0, ends_early=True),
    "remask": Traits(denoises=False, needs_mask=True, strength=0.04),
}
SAMPLERS = tuple(TRAITS)
STEP_SCHEDULES = ("uniform", "cosine")  # of a sampler's steps
NEED_MASKS = tuple(name for name, traits in TRAITS.items() if traits.needs_mask)
OWN = "own"  # stands for the sampler that suits a graph, and the schedule that suits a sampler
SCHEDULES = ("constant", "rising", "falling")  # of guidance

# Up to here the ratio 1 / expm1(sigma) is a normal fp32 number. Smaller ones, from sigma = 87.34,
# are flushed to zero, and the loss, which needs their logarithm, is NaN.
MAX_SIGMA = float(math.floor(126 * math.log(2)))  # the smallest normal fp32 number is 2^-126
LEAST_SIGMA = 1e-30  # from here on V / expm1(sigma) is finite in fp32, for any codec's V


def check_sigmas(sigma_min: float, sigma_max: float) -> None:
    """Raises ValueError for totals of noise that geometric noise cannot go between."""
    if not 0 < sigma_min < sigma_max <= MAX_SIGMA:
        raise ValueError(
            f"geometric noise needs 0 < noise.sigma_min < noise.sigma_max <= {MAX_SIGMA:g}, "
            f"got {sigma_min} and {sigma_max}"
        )


def best_sampler(has_mask: bool) -> str:
    """The sampler that is taken where none is named: sedd_jax/README.md has the figures."""
    return "spread" if has_mask else "euler"
