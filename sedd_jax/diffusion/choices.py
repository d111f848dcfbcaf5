"""The values that losses, samplers, guidance and noise can be given: known without loading JAX."""

import math

PARAMETRISATIONS = ("score_entropy",)
SAMPLERS = ("euler", "analytic")
SCHEDULES = ("constant", "rising", "falling")  # of guidance

# Up to here the ratio 1 / expm1(sigma) is a normal fp32 number. Smaller ones, from sigma = 87.34,
# are flushed to zero, and the loss, which needs their logarithm, is NaN.
MAX_SIGMA = float(math.floor(126 * math.log(2)))  # the smallest normal fp32 number is 2^-126


def check_sigmas(sigma_min: float, sigma_max: float) -> None:
    """Raises ValueError for totals of noise that geometric noise cannot go between."""
    if not 0 < sigma_min < sigma_max <= MAX_SIGMA:
        raise ValueError(
            f"geometric noise needs 0 < noise.sigma_min < noise.sigma_max <= {MAX_SIGMA:g}, "
            f"got {sigma_min} and {sigma_max}"
        )
