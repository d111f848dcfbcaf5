"""Rendering: scores become a corpus of audio files with tags, with a progress bar."""

from pathlib import Path

from tqdm import tqdm

from tokenizer_bridge.sources.scores import SOUND_FONT, corpus, reading
from tokenizer_bridge.sources.scores.synthesizer import Synthesizer
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.wording import in_minutes_or_hours


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
        f"{job.output}: {in_minutes_or_hours(3600 * summary['rendered_hours'])} of audio, "
        f"{summary['pieces']} pieces of "
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
