"""The check of an embedding: music is damaged, distances are measured, their order is judged."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from tokenizer_bridge import sources
from tokenizer_bridge.audio.resample import RESAMPLER
from tokenizer_bridge.fad.clips import Clip, plan_clips, read_clip
from tokenizer_bridge.fad.controls import embed_controls, make_audio, split_halves
from tokenizer_bridge.fad.damage import FAMILIES
from tokenizer_bridge.fad.embed import (
    EmbeddingSet,
    EmbedOptions,
    check_length,
    collect,
    embed,
    like_clips_of,
    stepping,
)
from tokenizer_bridge.fad.embeddings import Embedding, load_embedding
from tokenizer_bridge.fad.measure import ControlSets, Settings, compare_controls
from tokenizer_bridge.fad.measured_set import MIN_FILES
from tokenizer_bridge.fad.ordering import MEASURES, orderings
from tokenizer_bridge.fad.weights import cache_folder
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.wavtokenizer.registry import load_codec

CONTROLS = ("real_vs_real", "codec_floor", "shuffled_tokens", "white_noise")


def measure(
    audio: str,
    *,
    metadata: str | None = None,
    embedding: str = "musicnn",
    codec: str = "demo",
    codec_dir: str | None = None,
    clip_s: float = 10.0,
    clips_per_file: int = 1,
    num_tracks: int | None = None,
    seed: int = 0,
    weights: Mapping[str, str] | None = None,
    cache_dir: str | None = None,
    device: str = "cpu",
    batch_size: int = 8,
) -> dict[str, Any]:
    """The figures of an embedding on a folder of music, as --output writes them; shows progress.

    audio: DIR or SOURCE:DIR. clip_s: seconds of a clip. weights: files by name. cache_dir: for
    vectors and made audio. Raises UserError.
    """
    cache = Path(cache_dir or cache_folder() / "vectors")
    listener = load_embedding(embedding, weights or {}, device)
    network, info = load_codec(codec, codec_dir=codec_dir, device=device)
    clips = plan(audio, clip_s, clips_per_file, num_tracks, seed, metadata)
    halves = split_halves([c.id for c in clips], [c.artist for c in clips], seed)
    if (count := len({clips[i].id for i in halves.a})) < MIN_FILES:
        raise UserError(f"{audio}: {count} files in each half; distances need at least {MIN_FILES}")
    check_length(listener, clip_s)
    options = EmbedOptions(cache, batch_size=batch_size)
    with tqdm(total=len(clips), desc="real music", unit="clip") as bar:
        reference, failures = collect(
            listener.info, stepping(embed(listener, clips, options), bar.update)
        )
    refuse(failures)
    half = [clips[i] for i in halves.a]
    with tqdm(total=2 * len(half), desc="through the codec", unit="clip") as bar:
        made = make_audio(
            half,
            network,
            info,
            folder=cache / "controls",
            seed=seed,
            batch_size=batch_size,
            on_clip=bar.update,
        )
    with tqdm(total=3 * len(half), desc="controls", unit="clip") as bar:
        controls = embed_controls(listener, reference, halves, made, options, bar.update)
    real = controls.by_name["real_vs_real"]
    damaged = embed_damaged(listener, half, real, info.sample_rate, options)
    sets = ControlSets(
        controls.other_half, {**controls.by_name, **damaged}, warnings=controls.warnings
    )
    compared, warnings = compare_controls(sets, seed=seed)
    steps = {"controls": CONTROLS} | {
        name: ("real_vs_real", *(name_of(name, strength) for strength in family.strengths))
        for name, family in FAMILIES.items()
        if not family.is_baseline
    }
    orders = orderings(compared, steps)
    settings = Settings(clip_s, clips_per_file, "none", RESAMPLER, seed)
    return {
        "embedding": dataclasses.asdict(listener.info),
        **dataclasses.asdict(settings),
        "codec": dataclasses.asdict(info),
        "compared": {name: dataclasses.asdict(found) for name, found in compared.items()},
        "orders": orders,
        "warnings": warnings,
    }


def plan(
    audio: str,
    clip_s: float,
    clips_per_file: int,
    num_tracks: int | None,
    seed: int,
    metadata: str | None,
) -> list[Clip]:
    """The clips of all tracks. Raises UserError if one has none."""
    source, directory = sources.locate(audio)
    tracks = sources.load(
        source, directory, num_tracks=num_tracks, seed=seed, metadata=metadata, tell=print
    )
    clips, failures = plan_clips(tracks, clip_s, clips_per_file)
    refuse(failures)
    return clips


def refuse(failures: Sequence) -> None:
    if failures:
        first = failures[0]
        raise UserError(
            f"{len(failures)} files cannot be used, the first is {first.path}: {first.reason}; "
            "move them elsewhere"
        )


def name_of(family: str, strength: float) -> str:
    return f"{family} {strength:g}"


def embed_damaged(
    embedding: Embedding,
    half: Sequence[Clip],
    real: EmbeddingSet,
    sample_rate: int,
    options: EmbedOptions,
) -> dict[str, EmbeddingSet]:
    """The clips of `half`, read at the codec's rate, under all damage."""

    def damaged(damage, strength: float) -> Iterator[np.ndarray]:
        for clip in half:
            yield damage(read_clip(clip, sample_rate), sample_rate, strength)

    total = len(half) * sum(len(family.strengths) for family in FAMILIES.values())
    sets = {}
    with tqdm(total=total, desc="damaged", unit="clip") as bar:
        for name, family in FAMILIES.items():
            for strength in family.strengths:
                sounds = like_clips_of(real, damaged(family.damage, strength), sample_rate)
                embedded = stepping(embed(embedding, sounds, options), bar.update)
                sets[name_of(name, strength)], _ = collect(embedding.info, embedded)
    return sets


def print_figures(figures: dict) -> None:
    def interval(estimate: dict | None) -> str:
        if estimate is None:
            return "–"
        return f"{estimate['value']:.3f} ({estimate['low']:.3f} to {estimate['high']:.3f})"

    labels = {
        name_of(name, strength): family.label.format(strength)
        for name, family in FAMILIES.items()
        for strength in family.strengths
    }
    sizes = figures["compared"]["real_vs_real"]["generated"]
    print(f"{sizes['n_files']} files, {sizes['n_clips']} clips a half")
    print(f"{'':30}{'FAD':>10}{'FAD∞':>30}{'KAD':>30}")
    for name, found in figures["compared"].items():
        estimates = (interval(found[measure]) for measure in ("fad_infinity", "kad"))
        row = f"{labels.get(name, name):30}{found['fad']:10.3f}"
        print(row + "".join(f"{text:>30}" for text in estimates))
    for warning in figures["warnings"]:
        print(f"warning: {warning}")
    notes = {
        "controls": " (without silence)",
        "tempo": " (compare with there and back: the phase vocoder's own sound)",
    }
    for row, by_measure in figures["orders"].items():
        verdicts = (f"{measure}: {by_measure[measure] or '–'}" for measure in MEASURES)
        print(f"{row}{notes.get(row, '')}: " + ", ".join(verdicts))
