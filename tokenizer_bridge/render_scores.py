"""Renders a corpus of music from scores, with tags: what the demo's codec and model learn from.

    python -m tokenizer_bridge.render_scores --output=CORPUS --hours=20
    python -m tokenizer_bridge.encode --source=folder --input=CORPUS \\
        --tags=CORPUS/tags.csv --output=TOKENS

The scores are four-part chorales by J. S. Bach and dance tunes of Ryan's Mammoth Collection (1883)
as the Python package music21 carries them: pip install music21==10.5.1. FluidSynth plays them on
six instruments of the sound font FluidR3: apt-get install fluidsynth fluid-soundfont-gm (Debian,
Ubuntu; MIT licence, 120 MB). tokenizer_bridge/assets/LICENSES.md has the licences.

Every piece is a FLAC file (24 kHz, mono, 16 bits, two minutes at most) whose name begins with its
genre. CORPUS/tags.csv has instrument, genre, key, mode, metre and tempo, and as artist the tune, so
that no tune is in two splits; CORPUS/notes.jsonl the notes as they were played; CORPUS/corpus.json
counts, versions, hashes, and the scores that could not be read. The same seed and versions give the
same files. Killed or interrupted, the same command goes on where it stopped.
"""

from pathlib import Path

from absl import flags
from tqdm import tqdm

from tokenizer_bridge.sources.scores import corpus, reading
from tokenizer_bridge.sources.scores.synthesizer import SOUND_FONT, Synthesizer
from tokenizer_bridge.token_dataset.errors import UserError, run_door

_OUTPUT = flags.DEFINE_string("output", None, "Folder for the corpus.", required=True)
_HOURS = flags.DEFINE_float("hours", 20.0, "Hours of music.", lower_bound=0.001)
_SEED = flags.DEFINE_integer("seed", 0, "Another seed, another corpus.", lower_bound=0)
_SOUND_FONT = flags.DEFINE_string("sound_font", str(SOUND_FONT), "FluidR3_GM.sf2.")
_NUM_WORKERS = flags.DEFINE_integer("num_workers", 1, "Pieces rendered at once.", lower_bound=1)


def main(argv: list[str]) -> None:
    del argv
    synthesizer = Synthesizer(Path(_SOUND_FONT.value))
    job = corpus.CorpusJob(
        output=Path(_OUTPUT.value),
        hours=_HOURS.value,
        seed=_SEED.value,
        scores=Path(reading.music21_package().__file__).parent / "corpus",
        synthesizer=synthesizer,
    )
    if (summary := corpus.begin(job)) is not None:
        print(f"whole already, nothing to do: {describe(job, summary)}")
        return
    files = reading.score_files(job.scores)
    with tqdm(total=len(files), unit="score", desc="read") as bar:
        scores, unusable = corpus.load_scores(job, bar.update)
    pieces = corpus.planned(job, scores)
    if not pieces:
        raise UserError(f"{job.scores}: none of its {len(files)} scores can be used")
    results, seconds = [], 0.0
    with tqdm(total=len(pieces), unit="piece", desc="render", smoothing=0.1) as bar:
        for result in corpus.render(job, pieces, _NUM_WORKERS.value):
            results.append(result)
            seconds += result[1] if isinstance(result[1], float) else 0.0
            bar.set_postfix_str(f"{seconds / 3600:.2f} h of audio")
            bar.update()
    print(describe(job, corpus.finish(job, scores, unusable, results)))


def describe(job: corpus.CorpusJob, summary: dict) -> str:
    """A few lines on a corpus: how much, how it is spread, and what could not be used."""
    lines = [
        f"{job.output}: {summary['rendered_hours']:.2f} h of audio, {summary['pieces']} pieces of "
        f"{summary['tunes']} tunes"
    ]
    for category in ("instrument", "genre", "tempo"):
        hours = {
            tag.partition("---")[2]: count["hours"]
            for tag, count in summary["tags"].items()
            if tag.startswith(f"{category}---")
        }
        lines.append(f"{category}: " + ", ".join(f"{name} {h:.2f} h" for name, h in hours.items()))
    for what, failures in (
        ("scores could not be used", summary["unusable_scores"]),
        ("pieces could not be rendered", summary["not_rendered"]),
    ):
        if failures:
            name, reason = next(iter(failures.items()))
            lines.append(
                f"{len(failures)} {what}, the first is {name} ({reason}): all are in "
                f"{job.output / corpus.CORPUS_FILE}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    run_door(main)
