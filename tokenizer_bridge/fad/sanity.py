"""Does an embedding order known damage? Controls and damaged music against real music.

    python -m tokenizer_bridge.fad.sanity --reference=MUSIC --embedding=musicnn --output=sanity.json

The reference's files are split into two halves, A and B, as for a report's controls. A itself, A
through the codec, shuffled tokens, white noise and silence are compared with B, and A under damage
of rising strength: low-pass, added noise, slower tempo at the same pitch. An embedding that is fit
to judge music of this kind puts each of these rows in order (silence has no place in one); the last
lines say whether it does, in words that ordering.py defines.

Tempo is changed by a phase vocoder, whose own sound is heard as well, from the smallest change on.
A "to 0.9 of the tempo and back" passes it twice and is at the original tempo again: no more of the
distance at 0.9 of the tempo is surely the tempo's than it has over that.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from tokenizer_bridge import sources
from tokenizer_bridge.audio.resample import RESAMPLER
from tokenizer_bridge.fad.clips import Clip, plan_clips, read_clip
from tokenizer_bridge.fad.controls import embed_controls, make_audio, split_halves
from tokenizer_bridge.fad.damage import FAMILIES
from tokenizer_bridge.fad.embed import EmbeddingSet, check_length, embed_audio, embed_clips
from tokenizer_bridge.fad.embeddings import EMBEDDINGS, Embedding, load_embedding
from tokenizer_bridge.fad.measure import MIN_FILES, ControlSets, Settings, compare_controls
from tokenizer_bridge.fad.ordering import MEASURES, orderings
from tokenizer_bridge.fad.weights import cache_folder, parse_weights
from tokenizer_bridge.memory import keep_freed_memory
from tokenizer_bridge.token_dataset.errors import UserError, run_door
from tokenizer_bridge.token_dataset.files import make_writable, write_json_atomically
from tokenizer_bridge.wavtokenizer.registry import load_codec

FLAGS = flags.FLAGS

flags.DEFINE_string("reference", None, "Folder of music: DIR or SOURCE:DIR.", required=True)
flags.DEFINE_string("metadata", None, "TSV of an MTG-Jamendo reference, if it is not in DIR.")
flags.DEFINE_enum("embedding", "musicnn", EMBEDDINGS, "What hears the music.")
flags.DEFINE_string("codec", "demo", "Name of a known codec.")
flags.DEFINE_string("codec_dir", None, "Folder with a codec's YAML and weights.")
flags.DEFINE_float("clip_s", 10.0, "Length of a clip.", lower_bound=1.0)
flags.DEFINE_integer("clips_per_file", 1, "Clips, evenly spread over a file.", 1, 1000)
flags.DEFINE_integer("num_tracks", None, "Take so many files only.", lower_bound=1)
flags.DEFINE_integer("seed", 0, "Of tracks, halves, noise and shuffled tokens.", lower_bound=0)
flags.DEFINE_multi_string(
    "weights", [], "NAME=FILE with an embedding's weights, if they are not in a cache."
)
flags.DEFINE_string("cache_dir", None, "Where vectors and made audio are kept; a user's cache.")
flags.DEFINE_string("device", "cpu", "PyTorch device, such as cpu or cuda:0.")
flags.DEFINE_integer("batch_size", 8, "Clips at a time.", lower_bound=1)
flags.DEFINE_string("output", None, "JSON file for the figures.", required=True)

CONTROLS = ("real_vs_real", "codec_floor", "shuffled_tokens", "white_noise")


def main(argv: list[str]) -> None:
    del argv
    keep_freed_memory()
    cache_dir, output = Path(FLAGS.cache_dir or cache_folder() / "vectors"), Path(FLAGS.output)
    if output.is_dir():
        raise UserError(f"--output={output}: is a folder; name a file")
    make_writable(output.parent)
    embedding = load_embedding(FLAGS.embedding, parse_weights(FLAGS.weights), FLAGS.device)
    codec, info = load_codec(FLAGS.codec, codec_dir=FLAGS.codec_dir, device=FLAGS.device)
    clips = plan()
    halves = split_halves([c.id for c in clips], [c.artist for c in clips], FLAGS.seed)
    if (count := len({clips[i].id for i in halves.a})) < MIN_FILES:
        raise UserError(
            f"{FLAGS.reference}: {count} files in each half; distances need at least {MIN_FILES}"
        )
    check_length(embedding, FLAGS.clip_s)
    with tqdm(total=len(clips), desc="real music", unit="clip") as bar:
        reference, failures = embed_clips(
            embedding,
            clips,
            cache_dir=cache_dir,
            batch_size=FLAGS.batch_size,
            on_clip=lambda clip: bar.update(),
        )
    refuse(failures)
    half = [clips[i] for i in halves.a]
    with tqdm(total=2 * len(half), desc="through the codec", unit="clip") as bar:
        audio = make_audio(
            half,
            codec,
            info,
            folder=cache_dir / "controls",
            seed=FLAGS.seed,
            batch_size=FLAGS.batch_size,
            on_clip=bar.update,
        )
    with tqdm(total=3 * len(half), desc="controls", unit="clip") as bar:
        controls = embed_controls(
            embedding, reference, halves, audio, batch_size=FLAGS.batch_size, on_clip=bar.update
        )
    damaged = embed_damaged(embedding, half, controls.by_name["real_vs_real"], info.sample_rate)
    sets = ControlSets(
        controls.other_half, {**controls.by_name, **damaged}, warnings=controls.warnings
    )
    compared, warnings = compare_controls(sets, seed=FLAGS.seed)
    steps = {"controls": CONTROLS} | {
        name: ("real_vs_real", *(name_of(name, strength) for strength in family.strengths))
        for name, family in FAMILIES.items()
        if not family.is_baseline
    }
    orders = orderings(compared, steps)
    settings = Settings(FLAGS.clip_s, FLAGS.clips_per_file, "none", RESAMPLER, FLAGS.seed)
    figures = {
        "embedding": dataclasses.asdict(embedding.info),
        **dataclasses.asdict(settings),
        "codec": dataclasses.asdict(info),
        "compared": compared,
        "orders": orders,
        "warnings": warnings,
    }
    write_json_atomically(output, figures)
    print_figures(figures)


def plan() -> list[Clip]:
    """The clips of all tracks. Raises UserError if one has none."""
    source, directory = sources.locate(FLAGS.reference)
    tracks = sources.load(
        source,
        directory,
        num_tracks=FLAGS.num_tracks,
        seed=FLAGS.seed,
        metadata=FLAGS.metadata,
        tell=print,
    )
    clips, failures = plan_clips(tracks, FLAGS.clip_s, FLAGS.clips_per_file)
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
    embedding: Embedding, half: Sequence[Clip], real: EmbeddingSet, sample_rate: int
) -> dict[str, EmbeddingSet]:
    """The clips of `half`, read at the codec's rate, under all damage."""

    def damaged(damage, strength: float) -> Iterator[np.ndarray]:
        for clip in half:
            yield damage(read_clip(clip, sample_rate), sample_rate, strength)

    total = len(half) * sum(len(family.strengths) for family in FAMILIES.values())
    with tqdm(total=total, desc="damaged", unit="clip") as bar:
        return {
            name_of(name, strength): embed_audio(
                embedding,
                damaged(family.damage, strength),
                sample_rate,
                ids=real.clips,
                artists=real.artists,
                batch_size=FLAGS.batch_size,
                on_clip=bar.update,
            )
            for name, family in FAMILIES.items()
            for strength in family.strengths
        }


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


if __name__ == "__main__":
    run_door(main)
