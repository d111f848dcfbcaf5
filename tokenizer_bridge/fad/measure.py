"""All distances of one generated set to one reference under one embedding, with their controls.

A value of FAD∞ and of KAD may be slightly negative: both estimate their quantity without bias,
which a number that is never negative cannot do at 0.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenizer_bridge.fad.embed import EmbeddingSet
from tokenizer_bridge.fad.embeddings import EmbeddingInfo
from tokenizer_bridge.fad.extrapolation import CONFIDENCE, Estimate, fad_infinity
from tokenizer_bridge.fad.frechet import fit_gaussian, frechet_distance
from tokenizer_bridge.fad.kernel import KernelReference, kernel_distance
from tokenizer_bridge.fad.measured_set import MIN_ARTISTS, MeasuredSet, SetSize, check
from tokenizer_bridge.fad.paper_compat import flattened_distance
from tokenizer_bridge.fad.units import files_of
from tokenizer_bridge.token_dataset.errors import UserError

# Below it intervals are wide: with covariances as musicnn's of real music, those of FAD∞ are ± 0.10
# of the whole variance with 37 files, ± 0.04 with 75, ± 0.014 with 150.
FEW_FILES = 100

# FAD∞ by effective files for each dimension, in the smaller set (windows of a file are too much
# alike to count). A line in 1/k is the law for many files only. What it left of FAD's bias, in
# simulations:
#   all dimensions alike       1.0: a half,    1.25: a quarter, 1.5: a twelfth, 2: nothing
#   variances as 1/i           1.0: a third,   1.25: a fifth,   1.5: a tenth,   2: nothing
#   as musicnn's of real music 0.1: a quarter, 0.15: a seventh, 0.4: a twentieth, 0.75: nothing
# (90% of musicnn's variance is in 17 of its 200 dimensions; with 30 files the interval covered 0 in
# 99 of 100 trials.) So below MIN it is refused, and below SAFE it may be too high.
MIN_FILES_PER_DIM = 0.15  # 20 files for VGGish, 30 for musicnn, 308 for CNN14
SAFE_FILES_PER_DIM = 1.5  # 192 for VGGish, 300 for musicnn, 3,072 for CNN14


@dataclass(frozen=True)
class Settings:
    """The settings by which the clips of all sets were made, and the seed of all that is random."""

    clip_s: float
    clips_per_file: int
    loudness: str
    resampler: str
    seed: int = 0


@dataclass(frozen=True)
class ControlSets:
    """Sets made from one half of the reference, each to be compared with the other half."""

    other_half: EmbeddingSet
    by_name: Mapping[str, EmbeddingSet] = field(default_factory=dict)
    halves: str = "artists"  # or "known artists", "files": as controls.Halves.by
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """All distances between two sets; intervals have the level `extrapolation.CONFIDENCE`."""

    generated: SetSize
    reference: SetSize
    fad: float  # plain, biased upward by finite samples
    fad_infinity: Estimate | None  # None: far too few files, as a warning says
    kad: Estimate
    paper_compat: float | None  # CNN14 only: the distance of the flattened vectors


@dataclass(frozen=True)
class FileDistance:
    """The FAD of one file's windows to the whole reference."""

    id: str
    fad: float


@dataclass(frozen=True)
class Measurement:
    """One generated set against one reference under one embedding.

    per_file: of the generated files, in the set's order. controls: half of the reference, in
    several guises, against the other half; {} where none were asked for. halves: what these share:
    no "artists"; no "known artists", where some are not known; no "files", but perhaps artists;
    None without controls. warnings: one line each.
    """

    embedding: EmbeddingInfo
    settings: Settings
    comparison: Comparison
    per_file: Sequence[FileDistance]
    controls: Mapping[str, Comparison]
    halves: str | None
    warnings: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """The measurement as it stands in a report: plain JSON, no NaN, no infinity.

        Keys are this class's, with those of `settings` and `comparison` in their place, and
        "confidence", the level of every interval.
        """
        return {
            "embedding": dataclasses.asdict(self.embedding),
            **dataclasses.asdict(self.settings),
            "confidence": CONFIDENCE,
            **dataclasses.asdict(self.comparison),
            "per_file": [dataclasses.asdict(file) for file in self.per_file],
            "controls": {name: dataclasses.asdict(one) for name, one in self.controls.items()},
            "halves": self.halves,
            "warnings": list(self.warnings),
        }


def measure(
    generated: EmbeddingSet,
    reference: EmbeddingSet,
    controls: ControlSets | None,
    settings: Settings,
    reference_name: str = "reference",
) -> Measurement:
    """All distances, those of the controls if there are any, and what one should know of them.

    Raises UserError for sets that cannot be compared: another embedding or clip length, fewer than
    MIN_FILES files, vectors that are not finite.
    """
    x = MeasuredSet.of("generated", generated, settings.seed)
    y = MeasuredSet.of(reference_name, reference, settings.seed)
    check(x, y)
    warnings = _warnings_of_few(x, y)
    comparison = _compare(x, y, _kernel_reference(y, settings.seed), settings.seed)
    compared = {}
    if controls is not None:
        compared, of_controls = compare_controls(controls, reference_name, settings.seed)
        warnings += of_controls
    return Measurement(
        embedding=reference.info,
        settings=settings,
        comparison=comparison,
        per_file=_per_file(x, y),
        controls=compared,
        halves=controls.halves if controls is not None else None,
        warnings=warnings,
    )


def _files_per_dim(x: MeasuredSet, y: MeasuredSet) -> float:
    return min(x.size.n_effective, y.size.n_effective) / x.info.dim


def _warnings_of_few(x: MeasuredSet, y: MeasuredSet, are_controls: bool = False) -> list[str]:
    """Lines on what too few files do; for controls without advice, as they have what there is."""
    warnings = []
    for one in (x, y):
        if one.size.n_effective < FEW_FILES:
            warnings.append(f"{one.name}: {one.size}; below {FEW_FILES} intervals are wide")
        if one.has_few_artists:
            warnings.append(
                f"{one.name}: too few artists to draw ({one.size.n_artists} known, of which "
                f"unequal ones count for less; {MIN_ARTISTS} are needed): intervals come from its "
                "files, and speak of music by these artists only"
            )
        if (count := len(files_of(one.kernel_units))) < len(one.files):
            warnings.append(
                f"{one.name}: KAD is estimated on {count:,} of its {len(one.files):,} files, drawn "
                "at random; all would take long"
            )
    ratio = _files_per_dim(x, y)
    if ratio >= SAFE_FILES_PER_DIM:
        return warnings
    smaller = min(x.size, y.size, key=lambda size: size.n_effective)
    few = f"{x.name} against {y.name}: {smaller} for the {x.info.dim} dimensions of {x.info.name}"
    if ratio < MIN_FILES_PER_DIM:
        least = math.ceil(MIN_FILES_PER_DIM * x.info.dim)
        effect = f"no FAD∞ below {least}, and FAD's bias is unknown and may be large"
        advice = "use KAD"
    else:
        safe = math.ceil(SAFE_FILES_PER_DIM * x.info.dim)
        effect = f"below {safe} FAD∞ may be too high by a part of FAD's bias"
        advice = "add files or use KAD"
    return [*warnings, f"{few}: {effect}" if are_controls else f"{few}: {effect}; {advice}"]


def _kernel_reference(reference: MeasuredSet, seed: int) -> KernelReference:
    try:
        return KernelReference(reference.kernel_units, seed)
    except ValueError as error:
        raise UserError(f"{reference.name}: {error}") from error


def _compare(
    x: MeasuredSet, y: MeasuredSet, kernel_reference: KernelReference, seed: int
) -> Comparison:
    enough = _files_per_dim(x, y) >= MIN_FILES_PER_DIM
    is_panns = x.info.name.startswith("cnn14")
    return Comparison(
        generated=x.size,
        reference=y.size,
        fad=frechet_distance(fit_gaussian(x.all_NxD), fit_gaussian(y.all_NxD)),
        fad_infinity=fad_infinity(x.units, y.units, seed) if enough else None,
        kad=kernel_distance(x.kernel_units, kernel_reference, seed),
        paper_compat=flattened_distance(x.all_NxD, y.all_NxD) if is_panns else None,
    )


def _per_file(x: MeasuredSet, y: MeasuredSet) -> list[FileDistance]:
    """The FAD of each file's windows to the whole reference, to find the odd ones out.

    A file with one window has covariance 0: |x − μ|² + tr Σ. All values hold what one file lacks of
    the reference's variety, so they are large, and mean something beside each other only.
    """
    gaussian = fit_gaussian(y.all_NxD)
    return [
        FileDistance(id, frechet_distance(fit_gaussian(file_WxD), gaussian))
        for id, file_WxD in x.files.items()
    ]


def compare_controls(
    controls: ControlSets, reference_name: str = "reference", seed: int = 0
) -> tuple[dict[str, Comparison], list[str]]:
    """Each set of `controls.by_name` compared with the other half, and warnings, a line each.

    Raises UserError as `measure` does.
    """
    warnings = [f"{reference_name}: {line}" for line in controls.warnings]
    half = MeasuredSet.of(f"half of {reference_name}", controls.other_half, seed)
    sets = {name: MeasuredSet.of(name, vectors, seed) for name, vectors in controls.by_name.items()}
    for one in sets.values():
        check(one, half)
    if sets:
        first = next(iter(controls.by_name.values()))  # they are all of the same files
        made = MeasuredSet.of(f"controls of {reference_name}", first, seed)
        warnings += _warnings_of_few(made, half, are_controls=True)
    kernel_reference = _kernel_reference(half, seed)
    compared = {name: _compare(one, half, kernel_reference, seed) for name, one in sets.items()}
    return compared, warnings
