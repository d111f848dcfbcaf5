"""The settings of samples."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sedd_jax.diffusion.choices import (
    OWN,
    SAMPLERS,
    STEP_SCHEDULES,
    TRAITS,
    Traits,
    best_sampler,
)
from sedd_jax.diffusion.draws import Draws
from sedd_jax.diffusion.schedule import Schedule
from sedd_jax.errors import UserError
from sedd_jax.model import ModelDef
from sedd_jax.sampling.windows import num_windows

MOST = 2**31 - 1  # steps, and tokens of a sample: programs count them in 32 bits
ANCESTRAL = "ancestral"  # the sampler of autoregressive models
TEMPERATURES = (1e-30, 1e30)  # within float32
COSTS = "model_bits_by_masked_share"  # of an evaluation


@dataclasses.dataclass(frozen=True)
class Sampling:
    """The settings that a sample depends on beside the model, the guide, and what is known of it.

    steps: from noise to data, without denoising. length: tokens of a sample. window, overlap: where
    a sample is drawn in several windows, their length and the tokens that one shares with that
    before it. temperature, top_k, top_p: how narrow draws are (sedd_jax/diffusion/draws.py).
    schedule: of the steps, a name or what it is fitted to (sedd_jax/diffusion/schedule.py).
    strength: of samplers that have one (sedd_jax/diffusion/orders.py). None stands for none of it,
    and of schedule and strength for the sampler's own.
    """

    sampler: str
    steps: int
    seed: int
    length: int
    window: int | None = None
    overlap: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    schedule: Schedule | None = None
    strength: float | None = None

    @property
    def at_once(self) -> int:
        """Tokens that are drawn at once."""
        return self.window or self.length

    @property
    def shared(self) -> int:
        """Tokens that a window shares with the one before."""
        return self.overlap or 0

    @property
    def evaluations(self) -> int:
        """Network evaluations per sample, over all its windows; at most, where it ends early."""
        windows = num_windows(self.length, self.at_once, self.shared)
        return windows * self.evaluations_of_window

    @property
    def evaluations_of_window(self) -> int:
        """Network evaluations per window: those of the steps, and of the denoising."""
        traits = traits_of(self.sampler)
        return self.steps * traits.evaluations + int(traits.denoises)

    def as_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        schedule = list(self.schedule) if isinstance(self.schedule, tuple) else self.schedule
        return dataclasses.asdict(self) | {"schedule": schedule}

    @property
    def draws(self) -> Draws | None:
        """The narrowness of draws; None: as the model has it."""
        if (self.temperature, self.top_k, self.top_p) == (None, None, None):
            return None
        narrow = (self.temperature, self.top_k, self.top_p)
        return Draws(*(None if value is None else np.float32(value) for value in narrow))


def traits_of(sampler: str) -> Traits:
    """The traits of a sampler of `Sampling`: of SAMPLERS, or ANCESTRAL."""
    return Traits(denoises=False) if sampler == ANCESTRAL else TRAITS[sampler]


def settle(
    run: ModelDef,
    *,
    seed: int,
    sampler: str | None = None,
    steps: int | None = None,
    length: int | None = None,
    overlap: int | None = None,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    schedule: Schedule | None = None,
    strength: float | None = None,
) -> Sampling:
    """The settings of a run's samples, with its own where there is None.

    A length beyond that of the training is drawn in windows of that, which share `overlap` tokens,
    half of a window by default. Settings that change nothing are None. An autoregressive model has
    a sampler and a number of steps of its own, one a token.

    Raises UserError for an overlap that does not fit, a sampler that is not for the run's graph,
    what no computer could do, and a sampler or steps of an autoregressive model; ValueError where
    there is no such sampler or schedule.
    """
    defaults, window = run.config.sampling, run.config.model.length
    length = window if length is None else length
    for name, value in (("length", length), ("steps", steps)):
        if value is not None and value > MOST:
            raise UserError(f"{name} is {value}: it must be at most {MOST:,}")
    if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
        low, high = TEMPERATURES
        raise UserError(f"temperature is {temperature:g}: it must be from {low:g} to {high:g}")
    if overlap is not None and length <= window:
        raise UserError(
            f"overlap is for samples longer than the {window:,} tokens that the run was trained "
            f"on; these have {length:,}"
        )
    if overlap is not None and not 0 <= overlap < window:
        raise UserError(
            f"overlap is {overlap}: it must be from 0 to {window - 1}, less than a window has"
        )
    if run.is_autoregressive:
        if (sampler, steps, schedule, strength) != (None,) * 4:
            raise UserError(
                "an autoregressive model draws its tokens in order, one a step: there is no "
                "sampler, number of steps or schedule to choose"
            )
        sampler, steps, schedule = ANCESTRAL, min(length, window), OWN
    else:
        sampler = sampler or defaults.sampler
        if sampler == OWN:
            sampler = best_sampler(run.graph.mask_id is not None)
        if schedule is None:
            schedule = defaults.schedule
        elif not isinstance(schedule, str):
            schedule = _whole_costs(schedule)
        _check_sampler(run, sampler, schedule, strength)
        if steps is None:
            steps = defaults.steps or TRAITS[sampler].steps
    is_long = length > window
    return Sampling(
        sampler=sampler,
        steps=steps,
        seed=seed,
        length=length,
        window=window if is_long else None,
        overlap=(window // 2 if overlap is None else overlap) if is_long else None,
        temperature=None if temperature == 1 else temperature,
        top_k=None if top_k is None or top_k >= run.graph.num_codes else top_k,
        top_p=None if top_p == 1 else top_p,
        schedule=None if schedule in (OWN, traits_of(sampler).schedule) else schedule,
        strength=None if strength == traits_of(sampler).strength else strength,
    )


def read_costs(path: str | Path) -> tuple[float, ...]:
    """The bits of a masked token in equal parts of the masked share, from an evaluation's file.

    Raises UserError where there is no such file, or none of it.
    """
    try:
        report = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{path} is not JSON, as an evaluation is") from error
    costs = report.get(COSTS) if isinstance(report, dict) else None
    if not costs:
        raise UserError(
            f"{path} has no {COSTS}: evaluate an absorbing model to get a file that has"
        )
    try:
        return _whole_costs(costs)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _whole_costs(costs: Sequence[float | None]) -> tuple[float, ...]:
    """The costs, with those that are None between their neighbours. Raises UserError."""
    try:
        cost_N = np.array(list(costs), float)  # None becomes NaN
    except (TypeError, ValueError):
        raise UserError(f"no schedule can be fitted to {costs!r:.60}") from None
    is_there_N = np.isfinite(cost_N)
    if cost_N.ndim != 1 or not is_there_N.any():
        raise UserError(f"no schedule can be fitted to {costs!r:.60}: it needs numbers")
    place_N = np.arange(len(cost_N))
    return tuple(np.interp(place_N, place_N[is_there_N], cost_N[is_there_N]).tolist())


def _check_sampler(run: ModelDef, sampler: str, schedule: Schedule, strength: float | None) -> None:
    """Refuses what a run's samples cannot be drawn by."""
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler is {sampler!r}: it can be {', '.join(SAMPLERS)}")
    if isinstance(schedule, str) and schedule not in (OWN, *STEP_SCHEDULES):
        raise ValueError(f"schedule is {schedule!r}: it can be {', '.join(STEP_SCHEDULES)}")
    if strength is not None:
        if TRAITS[sampler].strength is None:
            with_one = [name for name, traits in TRAITS.items() if traits.strength is not None]
            raise UserError(f"the sampler {sampler} has no strength; {', '.join(with_one)} have")
        if not 0 <= strength <= (most := 1.0 if sampler == "remask" else math.inf):
            raise UserError(f"strength is {strength:g}: for {sampler} it is from 0 to {most:g}")
    if TRAITS[sampler].needs_mask and run.graph.mask_id is None:
        raise UserError(
            f"the sampler {sampler} draws masked tokens, and a model of the uniform graph has no "
            "mask: choose euler, analytic or trapezoidal"
        )
