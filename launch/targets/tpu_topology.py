"""TPU slices: what v5e:4x4 is called, how many hosts it has and how many chips each of them.

    python3 -m launch.targets.tpu_topology v5e:4x4     # → v5litepod-16 v2-alpha-tpuv5-lite 16 4

The line is the accelerator type and the runtime version for gcloud, chips, and hosts. Standard
library only: launchers run it with whatever Python the user's machine has, from 3.8 on.
Sources: cloud.google.com/tpu/docs (the page of each version; runtimes) and
cloud.google.com/kubernetes-engine/docs/concepts/plan-tpus (node selectors, chips a host).
"""

from __future__ import annotations

import dataclasses
import math
import re
import sys


@dataclasses.dataclass(frozen=True)
class Generation:
    """One version of TPU. name_unit: what the number in an accelerator type counts, per chip."""

    accelerator_type: str
    name_unit: int
    gke_accelerator: str
    runtime: str
    topologies: tuple[str, ...]  # ascending; of 3-d ones, those that the documentation lists


_2D = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_3D = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16")
_3D += ("8x16x16", "16x16x16")

GENERATIONS = {
    "v4": Generation("v4", 2, "tpu-v4-podslice", "tpu-ubuntu2204-base", _3D),
    "v5e": Generation("v5litepod", 1, "tpu-v5-lite-podslice", "v2-alpha-tpuv5-lite", _2D),
    "v5p": Generation("v5p", 2, "tpu-v5p-slice", "v2-alpha-tpuv5", (*_3D, "16x16x24")),
    "v6e": Generation("v6e", 1, "tpu-v6e-slice", "v2-alpha-tpuv6e", _2D),
}


@dataclasses.dataclass(frozen=True)
class Slice:
    """A slice of `generation` with the chips arranged as `topology`, such as "4x4"."""

    generation: Generation
    topology: str

    @property
    def chips(self) -> int:
        return math.prod(int(size) for size in self.topology.split("x"))

    @property
    def chips_per_host(self) -> int:
        """Up to 8 chips of a flat generation sit in one host; larger slices have 4 a host."""
        flat = self.topology.count("x") == 1
        return self.chips if flat and self.chips <= 8 else 4

    @property
    def hosts(self) -> int:
        return self.chips // self.chips_per_host

    @property
    def accelerator_type(self) -> str:
        """gcloud's name: v5litepod-16, v5p-128 (which counts two cores a chip)."""
        return f"{self.generation.accelerator_type}-{self.chips * self.generation.name_unit}"


def parse(text: str) -> Slice:
    """The slice "GENERATION:TOPOLOGY". Raises ValueError with one line that says what may stand."""
    match = re.fullmatch(r"(\w+):(\w+)", text)
    if match is None or match[1] not in GENERATIONS:
        raise ValueError(
            f"topology {text}: must be one of {', '.join(GENERATIONS)} and a shape, as in v5e:4x4"
        )
    generation = GENERATIONS[match[1]]
    if match[2] not in generation.topologies:
        raise ValueError(
            f"topology {text}: {match[1]} slices come as {', '.join(generation.topologies)}"
        )
    return Slice(generation, match[2])


def main(argv: list[str]) -> int:
    try:
        found = parse(argv[1] if len(argv) == 2 else "")
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(found.accelerator_type, found.generation.runtime, found.chips, found.hosts)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
