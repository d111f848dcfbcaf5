"""Tries meshes, remat policies and accumulations, and ranks those that fit."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from ml_collections import ConfigDict

from launch.aot import compiled
from launch.aot.compiled import Report
from launch.aot.topology import Topology
from sedd_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Space:
    """The settings to try.

    remat: by rising recomputation; fsdp: empty for every size that divides.
    """

    remat: Sequence[str]
    accumulation: Sequence[int]
    fsdp: Sequence[int]
    tensor: Sequence[int]

    def meshes(self, devices_per_slice: int) -> Iterator[dict[str, int]]:
        for tensor in self.tensor:
            for fsdp in self.fsdp or range(1, devices_per_slice + 1):
                if devices_per_slice % (fsdp * tensor) == 0:
                    data = devices_per_slice // (fsdp * tensor)
                    yield {"data": data, "fsdp": fsdp, "tensor": tensor}


def search(
    config: ConfigDict,
    topology: Topology,
    codebook_size: int,
    space: Space,
    *,
    sample: bool = False,
    on_report: Callable[[Report], None] = lambda report: None,
) -> list[Report]:
    """Reports of what was compiled; config.mesh.dcn stays as it is.

    On one mesh, more recomputation or smaller microbatches only cost time where less does: once a
    pair fits, pairs with no less of both are left out, and likewise those with no more of both than
    one that does not fit. Raises UserError when the config suits no mesh at all.
    """
    reports, refusal = [], None
    for mesh in space.meshes(len(topology.devices) // topology.num_slices):
        tried: list[tuple[int, int, bool]] = []
        pairs = [(r, a) for a in range(len(space.accumulation)) for r in range(len(space.remat))]
        for r, a in pairs:
            if any(
                (fits and r >= other_r and a >= other_a)
                or (not fits and r <= other_r and a <= other_a)
                for other_r, other_a, fits in tried
            ):
                continue
            candidate = config.copy_and_resolve_references()
            candidate.mesh.update(mesh)
            candidate.model.remat = space.remat[r]
            candidate.training.accumulation = space.accumulation[a]
            try:
                run = compiled.make_run(candidate, topology, codebook_size)
            except UserError as error:
                refusal = error
                continue
            report = compiled.report(run, topology, sample=sample)
            tried.append((r, a, report.fits))
            reports.append(report)
            on_report(report)
    if not reports:
        raise refusal or UserError("no mesh of the sizes to search divides the devices")
    return reports


def rank(reports: Sequence[Report]) -> list[Report]:
    """Those that fit, by the least time of a step, then by memory."""
    fitting = [report for report in reports if report.fits]
    return sorted(fitting, key=lambda r: (r.roofline.overlapped_s, r.memory.needed))
