"""The checkpoints whose validation was lowest: which they are, and that they are kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from orbax.checkpoint import checkpoint_managers

# Of a checkpoint: {"bits_per_token": of its EMA weights, "of": what they were measured on}
Validation = Mapping[str, Any]


def lowest(validations: Mapping[int, Validation]) -> list[int]:
    """Steps by rising bits per token, of those measured on the same as the newest of them."""
    if not validations:
        return []
    measured_on = validations[max(validations)]["of"]
    alike = [step for step, v in validations.items() if v["of"] == measured_on]
    return sorted(alike, key=lambda step: (validations[step]["bits_per_token"], step))


class BestPolicy:
    """Orbax's question which checkpoints to keep, answered with the `num` of lowest validation."""

    def __init__(self, num: int):
        self.num = num
        self.validations: dict[int, Validation] = {}

    def add(self, step: int, validation: Validation) -> None:
        """Takes note of a checkpoint's validation, if it has one."""
        if validation:
            self.validations[step] = validation

    def forget(self, step: int) -> None:
        """Takes back a checkpoint whose save failed, so that none has to be lower than it."""
        self.validations.pop(step, None)

    def is_among_best(self, step: int, validation: Validation) -> bool:
        """True for a validation that would be one of the lowest."""
        return step in lowest(self.validations | {step: validation})[: self.num]

    def should_preserve(self, checkpoints: Sequence, *, context: Any) -> list[bool]:
        """Says of each of the checkpoints, which Orbax calls with, whether to keep it."""
        steps = {checkpoint.step for checkpoint in checkpoints}
        there = {step: v for step, v in self.validations.items() if step in steps}
        kept = lowest(there)[: self.num]
        return [checkpoint.step in kept for checkpoint in checkpoints]


def policy(
    keep_last: int, keep_every: int, best: BestPolicy
) -> checkpoint_managers.PreservationPolicy:
    """Orbax' rule: keep the last, those of multiples of `keep_every` (0: none), and the best."""
    policies = [checkpoint_managers.LatestN(keep_last), best]
    if keep_every:
        policies.append(checkpoint_managers.EveryNSteps(keep_every))
    return checkpoint_managers.AnyPreservationPolicy(policies)
