"""Renders a corpus of music from scores, with tags: what the demo's codec and model learn from.

    python -m tokenizer_bridge.render_scores --output=CORPUS --hours=20
    python -m tokenizer_bridge.encode --source=folder --audio=CORPUS \\
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

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tokenizer_bridge.sources.scores import corpus, reading
from tokenizer_bridge.sources.scores.synthesizer import SOUND_FONT, Synthesizer
from tokenizer_bridge.token_dataset.command import Parser, integer, local_path, number, run_command
from tokenizer_bridge.token_dataset.errors import UserError


def make_parser() -> Parser:
    parser = Parser(__doc__)
    add = parser.add_argument
    add("--output", type=local_path, required=True, metavar="CORPUS", help="Folder for the corpus.")
    add("--hours", type=number(0.001), default=20.0, help="Hours of music.")
    add("--seed", type=integer(0), default=0, help="Another seed, another corpus.")
    add("--num_scores", type=integer(1), help="Read so many scores only, evenly spread.")
    add(
        "--sound_font",
        type=local_path,
        default=str(SOUND_FONT),
        metavar="FILE",
        help="FluidR3_GM.sf2.",
    )
    add("--num_workers", type=integer(1), default=1, help="Pieces rendered at once.")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    arguments = make_parser().parse_args(argv)
    render_scores(
        Path(arguments.output),
        hours=arguments.hours,
        seed=arguments.seed,
        num_scores=arguments.num_scores,
        sound_font=Path(arguments.sound_font),
        num_workers=arguments.num_workers,
    )


def render_scores(
    output: Path,
    *,
    hours: float,
    seed: int = 0,
    num_scores: int | None = None,
    sound_font: Path = SOUND_FONT,
    num_workers: int = 1,
) -> None:
    """Renders a corpus into a folder; shows progress and prints what was made. Raises UserError.

    num_scores: read so many of the scores only, evenly spread; None: all.
    """
    synthesizer = Synthesizer(sound_font)
    job = corpus.CorpusJob(
        output=output,
        hours=hours,
        seed=seed,
        scores=Path(reading.music21_package().__file__).parent / "corpus",
        synthesizer=synthesizer,
        num_scores=num_scores,
    )
    if (summary := corpus.begin(job)) is not None:
        print(f"whole already, nothing to do: {describe(job, summary)}")
        return
    files = job.score_files()
    with tqdm(total=len(files), unit="score", desc="read") as bar:
        scores, unusable = corpus.load_scores(job, bar.update)
    pieces = corpus.planned(job, scores)
    if not pieces:
        raise UserError(f"{job.scores}: none of its {len(files)} scores can be used")
    results, seconds = [], 0.0
    with tqdm(total=len(pieces), unit="piece", desc="render", smoothing=0.1) as bar:
        for result in corpus.render(job, pieces, num_workers):
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
    run_command(main)
