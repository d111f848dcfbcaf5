"""Makes a report of folders of music: plans the clips, embeds them, makes controls, measures."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from tokenizer_bridge.audio.resample import RESAMPLER
from tokenizer_bridge.fad.clips import Clip
from tokenizer_bridge.fad.controls import ControlAudio, Halves, embed_controls, make_audio
from tokenizer_bridge.fad.embed import Embedded, EmbeddingSet, EmbedOptions, check_length
from tokenizer_bridge.fad.embeddings import Embedding
from tokenizer_bridge.fad.measure import ControlSets, Settings, measure
from tokenizer_bridge.reporting import compare
from tokenizer_bridge.reporting.arguments import Reference
from tokenizer_bridge.reporting.compare import Pairing, Unusable
from tokenizer_bridge.reporting.examples import select_examples
from tokenizer_bridge.reporting.levels import Levels
from tokenizer_bridge.reporting.names import GENERATED
from tokenizer_bridge.reporting.page import Examples
from tokenizer_bridge.reporting.published import PUBLISHED
from tokenizer_bridge.reporting.table import title, windows
from tokenizer_bridge.token_dataset.files import as_text
from tokenizer_bridge.wavtokenizer.network import WavTokenizer
from tokenizer_bridge.wavtokenizer.registry import CodecInfo

_MAX_UNHEARD = 0.25  # of a clip, before a warning says so

# A progress bar of a name, a length and a unit; yields what is called after each step.
Bar = Callable[[str, int, str], AbstractContextManager[Callable[[], Any]]]


@dataclass(frozen=True)
class Plan:
    """The sets to be measured, and how. Names are `references`', and "generated" in clips_per_file.

    num_tracks: 0 takes all. metadata: of MTG-Jamendo, where it must be said. codec: None without
    controls.
    """

    generated: str
    references: Sequence[Reference]
    clip_s: Mapping[str, float]
    clips_per_file: Mapping[str, int]
    num_tracks: Mapping[str, int]
    metadata: Mapping[str, str]
    codec: tuple[WavTokenizer, CodecInfo] | None
    options: EmbedOptions
    seed: int
    skip_unusable: bool


def make_report(
    plan: Plan, embeddings: Sequence[Embedding], bar: Bar
) -> tuple[dict, list[Examples]]:
    """The report of the package's docstring, and what its page shows of each measurement.

    Raises UserError for everything that makes a set unusable, and, unless the plan skips them, for
    single files that are.
    """
    unusable, levels = Unusable(), Levels()
    pairings, num_files = _plan_pairings(plan, unusable, bar)
    least_s = max(e.min_samples / e.info.sample_rate for e in embeddings)
    if not plan.skip_unusable:
        unusable.refuse(num_files, least_s)  # what is known already, before hours of embedding
    _require_comparable(plan, pairings, embeddings, unusable)
    embedded: list[list[list[dict[Clip, Embedded]]]] = []  # by embedding, pairing and side
    for embedding in embeddings:
        embedded.append(_embed_all(embedding, pairings, plan.options, unusable, levels, bar))
        if not plan.skip_unusable:
            unusable.refuse(num_files, least_s)
        # A file is used under all embeddings or none: they are measures of the same sets.
        pairings = [pairing.without(unusable) for pairing in pairings]
        _require_comparable(plan, pairings, embeddings, unusable)

    measurements, shown = [], []
    for i, (reference, pairing) in enumerate(zip(plan.references, pairings, strict=True)):
        made = None
        if plan.codec:
            made = _make_controls(plan, pairing, bar)
        for embedding, by_pairing in zip(embeddings, embedded, strict=True):
            generated, real = (
                EmbeddingSet.of(embedding.info, [found[clip] for clip in side.clips])
                for side, found in zip(pairing.sides, by_pairing[i], strict=True)
            )
            controls = None
            if made:
                bar_title = f"{embedding.info.name}, controls of {reference.name}"
                with bar(bar_title, 3 * len(made[0].a), "clip") as step:
                    controls = embed_controls(embedding, real, *made, plan.options, step)
            measurement = _measure(plan, reference, generated, real, controls)
            measurements.append(measurement)
            by_name = controls.by_name if controls else {}
            shown.append(
                select_examples(measurement, pairing.generated.clips, generated, real, by_name)
            )
    level_warnings = levels.warnings(pairings, plan.options.loudness)
    return _report(plan, pairings, measurements, level_warnings, unusable), shown


def _plan_pairings(plan: Plan, unusable: Unusable, bar: Bar) -> tuple[list[Pairing], int]:
    """Clips of all sets, and how many files there are."""
    generated = compare.generated_tracks(plan.generated)
    pairings, num_files = [], len(generated)
    for reference in plan.references:
        name = reference.name
        real = compare.reference_tracks(
            reference, plan.num_tracks[name], plan.seed, plan.metadata.get(name)
        )
        num_files += len(real)
        with bar(f"lengths, for {name}", len(generated) + len(real), "file") as step:
            sides = [
                compare.plan_side(
                    side, tracks, plan.clip_s[name], plan.clips_per_file[side], unusable,
                    plan.options.num_workers, step,
                )
                for side, tracks in ((GENERATED, generated), (name, real))
            ]  # fmt: skip
        pairings.append(Pairing(*sides))
    return pairings, num_files


def _require_comparable(
    plan: Plan,
    pairings: Sequence[Pairing],
    embeddings: Sequence[Embedding],
    unusable: Unusable,
) -> None:
    """Raise UserError for what would be refused after hours: too few files, too short clips."""
    for pairing in pairings:
        pairing.require_enough(plan.seed if plan.codec else None, unusable)
        for embedding in embeddings:
            check_length(embedding, plan.clip_s[pairing.reference.name])


def _embed_all(
    embedding: Embedding,
    pairings: Sequence[Pairing],
    options: EmbedOptions,
    unusable: Unusable,
    levels: Levels,
    bar: Bar,
) -> list[list[dict[Clip, Embedded]]]:
    """The clips of both sides of each pairing, embedded."""
    total = sum(len(side.clips) for pairing in pairings for side in pairing.sides)
    with bar(embedding.info.name, total, "clip") as step:
        embedded = [
            [compare.embed_side(embedding, side, options, unusable, step) for side in pairing.sides]
            for pairing in pairings
        ]
    for one in (one for by_side in embedded for found in by_side for one in found.values()):
        levels.add(one.clip, one.level)
    return embedded


def _make_controls(plan: Plan, pairing: Pairing, bar: Bar) -> tuple[Halves, ControlAudio]:
    """A reference's halves, and what is made of the first of them."""
    halves = compare.control_halves(pairing, plan.seed)
    with bar(f"controls of {pairing.reference.name}", 2 * len(halves.a), "clip") as step:
        audio = make_audio(
            [pairing.reference.clips[i] for i in halves.a],
            *plan.codec,
            folder=plan.options.cache_dir / "controls",
            seed=plan.seed,
            batch_size=plan.options.batch_size,
            on_clip=step,
        )
    return halves, audio


def _measure(
    plan: Plan,
    reference: Reference,
    generated: EmbeddingSet,
    real: EmbeddingSet,
    controls: ControlSets | None,
) -> dict:
    per_file = {name: plan.clips_per_file[name] for name in (GENERATED, reference.name)}
    lufs = plan.options.loudness
    settings = Settings(
        clip_s=plan.clip_s[reference.name],
        clips_per_file=per_file[reference.name],
        loudness="none" if lufs is None else f"{lufs:g} LUFS, as far as peaks allow",
        resampler=RESAMPLER,
        seed=plan.seed,
    )
    measurement = measure(generated, real, controls, settings, reference.name).as_json()
    if len(set(per_file.values())) > 1:
        measurement["clips_per_file"] = per_file
    measurement["reference"] |= {
        "source": reference.source,
        "directory": as_text(reference.directory),
        "drawn": plan.num_tracks[reference.name] or "all",
    }
    return measurement


def _report(
    plan: Plan,
    pairings: Sequence[Pairing],
    measurements: Sequence[dict],
    level_warnings: Sequence[str],
    unusable: Unusable,
) -> dict:
    warnings = [
        f"{m['embedding']['name']}: {m['embedding']['weights']} weights, not the published ones: "
        "nothing published compares with its figures"
        for m in measurements
        if m["embedding"]["weights"] != "published"
    ]
    warnings += [
        f"{common} generated files are files of {pairing.reference.name} as well"
        for pairing in pairings
        if (common := pairing.num_common())
    ]
    warnings += level_warnings
    warnings += [line for m in measurements if (line := _unheard(m))]
    warnings = list(
        dict.fromkeys(warnings + [line for m in measurements for line in m["warnings"]])
    )
    if unusable:
        left_out = "1 file was" if len(unusable) == 1 else f"{len(unusable):,} files were"
        warnings.append(f"{left_out} left out: listed at the end of report.md and report.html")
    settings = {"codec": "none: no controls"}
    if plan.codec:
        _, info = plan.codec
        settings = {"codec": info.name, "codec_weights_sha256": info.weights_sha256}
    return {
        "generated": {
            "directory": as_text(plan.generated),
            "n_files": measurements[0]["generated"]["n_files"],
        },
        "measurements": list(measurements),
        "settings": settings,
        "published": [vars(published) for published in PUBLISHED],
        "unusable": unusable.listed(),
        "warnings": warnings,
    }


def _unheard(measurement: Mapping) -> str | None:
    """A warning where much of each clip lies in no window."""
    count, heard_s = windows(measurement)
    if heard_s >= (1 - _MAX_UNHEARD) * measurement["clip_s"]:
        return None
    fitting_s = math.ceil(10 * heard_s) / 10
    return (
        f"{title(measurement)}: of each clip of {measurement['clip_s']:g} s only {heard_s:.4g} s "
        f"are heard (windows: {count}); clips of {fitting_s:g} s would lose next to nothing"
    )
