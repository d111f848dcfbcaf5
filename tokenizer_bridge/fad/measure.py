"""All distances of one generated set to one reference under one embedding, with their controls.

`measure` returns what the report renders, all of it plain JSON (no NaN, no infinity):

    {
      "embedding": {"name", "weights_sha256", "dim", "sample_rate" (Hz), "window_s", "hop_s",
                    "weights"},       # as EmbeddingInfo; window_s, hop_s null: one vector a clip
      "clip_s": 10.0,                 # seconds
      "clips_per_file": 1,
      "loudness": "none",             # or e.g. "-23 LUFS", as the clips were made
      "resampler": "…",
      "seed": 0,                      # of subsets, halves, noise and shuffled tokens
      "confidence": 0.95,             # of every low … high
      "generated": {"name": "generated", "n_files", "n_clips", "n_vectors",
                    "n_artists",      # known ones; 0 for generated music
                    "n_effective",    # independent files that would tell as much, ≤ n_files
                    "drawn"},         # "artists" with all their files, or "files": what subsets
                                      # and intervals draw
      "reference": {"name": "jamendo", … the same},
      "fad": 3.21,                    # plain, biased upward by finite samples
      "fad_infinity": {"value", "low", "high"} or null,
                                      # null: far too few files (a warning says so)
      "kad": {"value", "low", "high"},
      "paper_compat": 1e-4 or null,   # CNN14 only: the distance of the flattened vectors
      "per_file": [{"id": "…", "fad": 12.3}, …],     # generated files, in the set's order
      "controls": {
        "real_vs_real":    {"fad", "fad_infinity", "kad", "paper_compat",
                            "generated": {"name", … as above},
                            "reference": {"name", … as above}},
        "codec_floor":     {… the same},
        "shuffled_tokens": {… the same},
        "white_noise":     {… the same},
        "silence":         {… the same},
      },                              # {}: no controls were asked for
      "halves": "artists",            # the reference's halves share none; "known artists": none
                                      # that is known, where some are not; "files": they may share
                                      # artists; null: no controls
      "warnings": ["one line each", …]
    }

A value of FAD∞ and of KAD may be slightly negative: both estimate their quantity without bias,
which a number that is never negative cannot do at 0.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from tokenizer_bridge.fad.embed import EmbeddingSet
from tokenizer_bridge.fad.embeddings import EmbeddingInfo
from tokenizer_bridge.fad.extrapolation import CONFIDENCE, fad_infinity
from tokenizer_bridge.fad.frechet import fit_gaussian, frechet_distance
from tokenizer_bridge.fad.kernel import KernelReference, kernel_distance, within_bound
from tokenizer_bridge.fad.paper_compat import flattened_distance
from tokenizer_bridge.fad.units import alone, by_artist, effective_files, equal_units, files_of
from tokenizer_bridge.token_dataset.errors import UserError

# An interval is the spread of random halves of a set. With 16 files in a set it still covered
# the truth in 98 of 100 trials (8 dimensions); below, a half has too few files to say much.
MIN_FILES = 16
# Below it intervals are wide: with covariances as musicnn's of real music, those of FAD∞ are ± 0.10
# of the whole variance with 37 files, ± 0.04 with 75, ± 0.014 with 150.
FEW_FILES = 100

# Artists, files of unknown ones among them, as so many of equal size are (units.equal_units): from
# here on they are drawn. With as few and half of the variance shared within an artist, intervals
# covered the truth in 95 of 100 trials or more; by file in 45 to 78 (8 dimensions, variances as
# 1/i, truths 0 and 2.25 of the variance).
MIN_ARTISTS = 4

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
    """How the clips of all sets were made, and the seed of everything random."""

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


def measure(
    generated: EmbeddingSet,
    reference: EmbeddingSet,
    controls: ControlSets | None,
    settings: Settings,
    reference_name: str = "reference",
) -> dict:
    """The map described above.

    Raises UserError for sets that cannot be compared: another embedding or clip length, fewer than
    MIN_FILES files, vectors that are not finite.
    """
    warnings: list[str] = []
    sides = (("generated", generated), (reference_name, reference))
    named = [MeasuredSet(name, vectors, settings.seed) for name, vectors in sides]
    _check(*named)
    _warn_of_few(*named, warnings)
    comparison = _compare(*named, _kernel_reference(named[1], settings.seed), settings.seed)
    compared = {}
    if controls is not None:
        compared, of_controls = compare_controls(controls, reference_name, settings.seed)
        warnings += of_controls
    return {
        "embedding": dataclasses.asdict(reference.info),
        **dataclasses.asdict(settings),
        "confidence": CONFIDENCE,
        **comparison,
        "per_file": _per_file(named[0], named[1]),
        "controls": compared,
        "halves": controls.halves if controls is not None else None,
        "warnings": warnings,
    }


class MeasuredSet:
    """A set, what messages call it, and its vectors in float64: by file, and as they are drawn."""

    def __init__(self, name: str, vectors: EmbeddingSet, seed: int):
        self.name, self.set, self.info = name, vectors, vectors.info
        clips: dict[str, list[np.ndarray]] = {}
        for clip_id, vectors_WxD in zip(vectors.clips, vectors.per_clip(), strict=True):
            clips.setdefault(clip_id, []).append(vectors_WxD)
        self.files = {id: np.concatenate(file, dtype=np.float64) for id, file in clips.items()}
        self.all_NxD = np.asarray(vectors.vectors_NxD, np.float64)
        artist_of = dict(zip(vectors.clips, vectors.artists, strict=True))
        self.num_artists = len(set(artist_of.values()) - {None})
        files = list(self.files.values())
        self.units = by_artist(files, [artist_of[id] for id in self.files])
        self.has_few_artists = (
            len(self.units) < len(files) and equal_units(self.units) < MIN_ARTISTS
        )
        if self.has_few_artists:
            self.units = alone(files)
        self.num_effective = effective_files(self.units)
        self.kernel_units = within_bound(self.units, seed)

    @property
    def counts(self) -> dict:
        return {
            "name": self.name,
            "n_files": len(self.files),
            "n_clips": len(self.set.clips),
            "n_vectors": len(self.all_NxD),
            "n_artists": self.num_artists,
            "n_effective": self.num_effective,
            "drawn": "artists" if len(self.units) < len(self.files) else "files",
        }

    @property
    def size_text(self) -> str:
        """Its number of files, and what they are worth where that is less."""
        size = f"{len(self.files)} files"
        if self.num_effective == len(self.files):
            return size
        return f"{size} ({self.num_artists} known artists) that count as {self.num_effective}"


def _check(x: MeasuredSet, y: MeasuredSet) -> None:
    """Raise UserError, one line, for what makes two sets incomparable."""
    for one in (x, y):
        if len(one.files) < MIN_FILES:
            raise UserError(
                f"{one.name}: {len(one.files)} files; distances need at least {MIN_FILES}"
            )
        finite_N = np.isfinite(one.all_NxD).all(1)
        if not finite_N.all():
            clip = one.set.clips[one.set.clip_of_N[np.argmin(finite_N)]]
            raise UserError(f"{one.name}: {clip}: its {one.info.name} vectors are not finite")
    if x.info != y.info:
        raise UserError(
            f"{x.name} and {y.name} were embedded differently ({_identity(x.info)}; "
            f"{_identity(y.info)}): embed both with the same network and weights"
        )
    windows = {len(clip_WxD) for one in (x, y) for clip_WxD in one.set.per_clip()}
    if len(windows) > 1:
        raise UserError(
            f"{x.name} and {y.name}: clips have from {min(windows)} to {max(windows)} vectors: "
            "all clips must have the same length"
        )


def _identity(info: EmbeddingInfo) -> str:
    return f"{info.name}, {info.dim} dimensions, weights {info.weights_sha256[:12]}"


def _files_per_dim(x: MeasuredSet, y: MeasuredSet) -> float:
    return min(x.num_effective, y.num_effective) / x.info.dim


def _warn_of_few(
    x: MeasuredSet, y: MeasuredSet, warnings: list[str], are_controls: bool = False
) -> None:
    """Say what too few files do; for controls without advice, as they have what there is."""
    for one in (x, y):
        if one.num_effective < FEW_FILES:
            warnings.append(f"{one.name}: {one.size_text}; below {FEW_FILES} intervals are wide")
        if one.has_few_artists:
            warnings.append(
                f"{one.name}: too few artists to draw ({one.num_artists} known, of which unequal "
                f"ones count for less; {MIN_ARTISTS} are needed): intervals come from its files, "
                "and speak of music by these artists only"
            )
        if (count := len(files_of(one.kernel_units))) < len(one.files):
            warnings.append(
                f"{one.name}: KAD is estimated on {count:,} of its {len(one.files):,} files, drawn "
                "at random; all would take long"
            )
    ratio = _files_per_dim(x, y)
    if ratio >= SAFE_FILES_PER_DIM:
        return
    smaller = min(x, y, key=lambda one: one.num_effective)
    few = (
        f"{x.name} against {y.name}: {smaller.size_text} for the {x.info.dim} dimensions of "
        f"{x.info.name}"
    )
    if ratio < MIN_FILES_PER_DIM:
        least = math.ceil(MIN_FILES_PER_DIM * x.info.dim)
        effect = f"no FAD∞ below {least}, and FAD's bias is unknown and may be large"
        advice = "use KAD"
    else:
        safe = math.ceil(SAFE_FILES_PER_DIM * x.info.dim)
        effect = f"below {safe} FAD∞ may be too high by a part of FAD's bias"
        advice = "add files or use KAD"
    warnings.append(f"{few}: {effect}" if are_controls else f"{few}: {effect}; {advice}")


def _kernel_reference(reference: MeasuredSet, seed: int) -> KernelReference:
    try:
        return KernelReference(reference.kernel_units, seed)
    except ValueError as error:
        raise UserError(f"{reference.name}: {error}") from error


def _compare(x: MeasuredSet, y: MeasuredSet, kernel_reference: KernelReference, seed: int) -> dict:
    """All distances between two sets, and their sizes."""
    enough = _files_per_dim(x, y) >= MIN_FILES_PER_DIM
    extrapolated = fad_infinity(x.units, y.units, seed) if enough else None
    is_panns = x.info.name.startswith("cnn14")
    return {
        "generated": x.counts,
        "reference": y.counts,
        "fad": frechet_distance(fit_gaussian(x.all_NxD), fit_gaussian(y.all_NxD)),
        "fad_infinity": dataclasses.asdict(extrapolated) if extrapolated else None,
        "kad": dataclasses.asdict(kernel_distance(x.kernel_units, kernel_reference, seed)),
        "paper_compat": flattened_distance(x.all_NxD, y.all_NxD) if is_panns else None,
    }


def _per_file(x: MeasuredSet, y: MeasuredSet) -> list[dict]:
    """The FAD of each file's windows to the whole reference, to find the odd ones out.

    A file with one window has covariance 0: |x − μ|² + tr Σ. All values hold what one file lacks of
    the reference's variety, so they are large, and mean something beside each other only.
    """
    gaussian = fit_gaussian(y.all_NxD)
    return [
        {"id": id, "fad": frechet_distance(fit_gaussian(file_WxD), gaussian)}
        for id, file_WxD in x.files.items()
    ]


def compare_controls(
    controls: ControlSets, reference_name: str = "reference", seed: int = 0
) -> tuple[dict[str, dict], list[str]]:
    """What `measure` returns as "controls" (any names will do), and warnings.

    Raises UserError as `measure` does.
    """
    warnings = [f"{reference_name}: {line}" for line in controls.warnings]
    half = MeasuredSet(f"half of {reference_name}", controls.other_half, seed)
    sets = {name: MeasuredSet(name, vectors, seed) for name, vectors in controls.by_name.items()}
    for one in sets.values():
        _check(one, half)
    if sets:
        first = next(iter(controls.by_name.values()))  # they are all of the same files
        made = MeasuredSet(f"controls of {reference_name}", first, seed)
        _warn_of_few(made, half, warnings, are_controls=True)
    kernel_reference = _kernel_reference(half, seed)
    compared = {name: _compare(one, half, kernel_reference, seed) for name, one in sets.items()}
    return compared, warnings
