"""The measurement of gaps: clips of held-out music, repairs, distances, and a table of them."""

from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from launch.gaps.cases import Case, gap_case, transition_case
from launch.gaps.measuring import measure
from launch.gaps.repairs import make_repairs
from launch.jobs.held_out import find_tracks, read_middles
from sedd_jax import Model
from sedd_jax.sampling.settings import settle
from tokenizer_bridge import Codec
from tokenizer_bridge.fad.embeddings import load_embedding
from tokenizer_bridge.repairs.spectral_distance import FRAME
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.intervals import Estimate

EMBEDDING = "musicnn"


def measure_gaps(
    workdir: str,
    audio: str,
    *,
    step: int | str | None = None,
    gaps_ms: Sequence[float] = (),
    transitions: Sequence[int] = (),
    clip_s: float = 4.0,
    num_tracks: int | None = None,
    sampler: str | None = None,
    steps: int | None = None,
    seed: int = 0,
    codec_dir: str | None = None,
) -> dict[str, Any]:
    """The figures, as the JSON file has them. Arguments are the command's. Raises UserError."""
    if not gaps_ms and not transitions:
        raise UserError("--gaps_ms and --transitions are both empty: there is nothing to measure")
    tracks = find_tracks(audio, num_tracks, seed)
    model = Model.load(workdir, step=step)
    model.definition.require_diffusion("mending a gap")
    codec = Codec.load(model.codec, directory=codec_dir)
    cases = [gap_case(ms, clip_s, codec.sample_rate, codec.hop_length) for ms in gaps_ms]
    cases += [transition_case(num_tokens, codec.hop_length) for num_tokens in transitions]
    for case in cases:
        _check(case, codec, model)
    embedding = load_embedding(EMBEDDING)
    longest_s = max(case.clip for case in cases) / codec.sample_rate
    held_out = read_middles(audio, tracks, longest_s, codec.sample_rate)
    sound_NxT = held_out.sound_NxT

    sampling = settle(model.definition, seed=seed, sampler=sampler, steps=steps)
    report: dict[str, Any] = {
        "workdir": str(workdir),
        "step": model.step,
        "codec": codec.info.name,
        "sampler": sampling.sampler,
        "steps": sampling.steps,
        "seed": seed,
        "num_clips": len(sound_NxT),
        "left_out": held_out.left_out,
        "cases": [],
    }
    total = len(cases) * len(sound_NxT) * sampling.evaluations
    with tqdm(total=total, unit="clip-step", desc="gaps", leave=False) as bar:
        for case in cases:
            skipped = (sound_NxT.shape[1] - case.clip) // 2
            original_NxT = sound_NxT[:, skipped : skipped + case.clip]
            repairs = make_repairs(
                model, codec, original_NxT, case, sampling=sampling, on_steps=bar.update
            )
            distances = measure(
                original_NxT, repairs, case, codec.sample_rate, embedding, held_out.artists_N
            )
            first, last = case.tokens(codec.hop_length)
            report["cases"].append(
                {
                    "name": case.name,
                    "gap_s": (case.end - case.begin) / codec.sample_rate,
                    "clip_s": case.clip / codec.sample_rate,
                    "unknown_tokens": last - first,
                    "distances": distances,
                }
            )
    return report


def _check(case: Case, codec: Codec, model: Model) -> None:
    """Raises UserError where a case does not fit the model."""
    if case.begin <= 0:
        raise UserError(f"a gap of {case.name} does not fit into its clip: give a longer --clip_s")
    if case.clip < FRAME:
        raise UserError(
            f"{case.name}: clips of {case.clip:,} samples are too short for the log-spectral "
            f"distance, which takes {FRAME:,}"
        )
    if case.clip // codec.hop_length > model.length:
        raise UserError(
            f"{case.name}: clips of {case.clip // codec.hop_length:,} tokens are longer than the "
            f"{model.length:,} that the model was trained on"
        )


def table(report: dict[str, Any]) -> str:
    """The figures as a table of Markdown."""
    names = list(report["cases"][0]["distances"])
    lines = [
        f"{report['num_clips']} clips, model {report['workdir']} at step {report['step']}, "
        f"{report['steps']} steps of {report['sampler']}. Means, ± half of the 95% interval by "
        "artist:",
        "",
        f"| gap | distance | {' | '.join(names)} |",
        f"|---|---|{'---|' * len(names)}",
    ]
    rows = {"lsd_db": "log-spectral, dB", "embedding": f"{EMBEDDING}, cosine"}
    for case in report["cases"]:
        for key, label in rows.items():
            found = [case["distances"][name].get(key) for name in names]
            if all(fields is not None for fields in found):
                cells = " | ".join(Estimate.from_json(fields).text() for fields in found)
                lines.append(f"| {case['name']} | {label} | {cells} |")
    if report["left_out"]:
        lines += ["", f"{len(report['left_out'])} tracks were left out, the first:"]
        lines.append(report["left_out"][0])
    return "\n".join(lines)
