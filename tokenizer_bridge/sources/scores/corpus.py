"""A folder of rendered scores, written so that a killed command goes on where it stopped.

OUTPUT/job.json               what was asked for, and the versions of what makes it
OUTPUT/scores.jsonl           a line a score: its notes, or why it cannot be used
OUTPUT/jig/Name-flute-00012.flac
OUTPUT/notes.jsonl            a line a piece: start, end (seconds), pitch and velocity of notes
OUTPUT/tags.csv               path,artist,tags; the artist is the tune
OUTPUT/corpus.json            written last: counts, hashes, and what could not be rendered
"""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tokenizer_bridge.sources.scores import reading, sound
from tokenizer_bridge.sources.scores.performance import LEAD_S, TAIL_S, Performance, soundings
from tokenizer_bridge.sources.scores.plan import plan
from tokenizer_bridge.sources.scores.score import Score
from tokenizer_bridge.sources.scores.synthesizer import RenderingError, Sounding, Synthesizer
from tokenizer_bridge.sources.scores.tunes import tune_names
from tokenizer_bridge.sources.tagging import CSV_HEADER
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.files import (
    atomic_file,
    file_sha256,
    make_writable,
    write_json_atomically,
)

FORMAT_VERSION = 1
JOB_FILE, CORPUS_FILE, TAGS_FILE = "job.json", "corpus.json", "tags.csv"
SCORES_FILE, NOTES_FILE = "scores.jsonl", "notes.jsonl"
_PERFORMING = 1  # key of the random numbers of performances, beside the plan's


@dataclass(frozen=True)
class CorpusJob:
    """The ingredients of a corpus. hours: of music. scores: a folder laid out like music21's.

    num_scores: read so many of them only, evenly spread over all; None: all.
    """

    output: Path
    hours: float
    seed: int
    scores: Path
    synthesizer: Synthesizer
    num_scores: int | None = None

    def score_files(self) -> list[Path]:
        """The files of the scores that are read."""
        files = reading.score_files(self.scores)
        if self.num_scores is None or self.num_scores >= len(files):
            return files
        return [files[i * len(files) // self.num_scores] for i in range(self.num_scores)]

    def settings(self) -> dict[str, Any]:
        """All that decides what is in the corpus, for JSON."""
        packages = ("music21", "numpy", "scipy", "soundfile")
        return {
            "format_version": FORMAT_VERSION,
            "hours": self.hours,
            "seed": self.seed,
            "num_scores": self.num_scores,
            "fluidsynth": self.synthesizer.version,
            "sound_font": self.synthesizer.sound_font.name,
            "sound_font_sha256": file_sha256(self.synthesizer.sound_font),
            **{name: version(name) for name in packages},
        }


@dataclass(frozen=True)
class Piece:
    """A piece of the corpus: its place in the plan, and its file, relative to the corpus."""

    index: int
    performance: Performance

    @property
    def path(self) -> str:
        score, instrument = self.performance.score, self.performance.instrument
        return f"{score.genre}/{Path(score.id).stem}-{instrument.name}-{self.index:05d}.flac"

    def notes(self, seed: int) -> list[Sounding]:
        rng = np.random.default_rng([seed, _PERFORMING, self.index])
        return soundings(self.performance, rng)


def begin(job: CorpusJob) -> dict[str, Any] | None:
    """Take possession of the output folder; the summary of a corpus that is whole already.

    Raises UserError if something else is there.
    """
    make_writable(job.output)
    path, settings = job.output / JOB_FILE, job.settings()
    if not path.exists():
        if any(job.output.iterdir()):
            raise UserError(f"{job.output} is not empty, and holds no corpus of rendered scores")
        write_json_atomically(path, settings)
    begun = json.loads(path.read_text(encoding="utf-8"))
    for name in settings:
        if begun.get(name) != settings[name]:
            raise UserError(
                f"{job.output} holds a corpus with {name} {begun.get(name)}, not {settings[name]}"
            )
    whole = job.output / CORPUS_FILE
    return json.loads(whole.read_text(encoding="utf-8")) if whole.exists() else None


def load_scores(
    job: CorpusJob, on_file: Callable[[], None] = lambda: None
) -> tuple[list[Score], dict[str, str]]:
    """The scores, and for files that cannot be used the reason. What was read before is not read
    again, unless the file has changed."""
    path = job.output / SCORES_FILE
    known = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.endswith("}"):  # the last line of a killed command may be cut short
                entry = json.loads(line)
                known[entry["file"], entry["sha256"]] = entry
    entries = []
    with open(path, "a", encoding="utf-8") as lines:
        for file in job.score_files():
            name, digest = file.relative_to(job.scores).as_posix(), file_sha256(file)
            entry = known.get((name, digest))
            if entry is None:
                entry = {"file": name, "sha256": digest, **_read(file, name)}
                lines.write(json.dumps(entry) + "\n")
            entries.append(entry)
            on_file()
    with atomic_file(path) as temporary:  # in order, and without cut lines
        temporary.write_text("".join(json.dumps(entry) + "\n" for entry in entries), "utf-8")
    scores = [Score.from_json(entry["score"]) for entry in entries if "score" in entry]
    return scores, {entry["file"]: entry["reason"] for entry in entries if "reason" in entry}


def _read(file: Path, name: str) -> dict[str, Any]:
    try:
        return {"score": reading.read_score(file, name).to_json()}
    except Exception as error:  # music21 raises whatever an unexpected file makes it raise
        reason = " ".join(str(error).split()) or type(error).__name__
        return {"reason": reason[:200]}


def render(
    job: CorpusJob, pieces: Sequence[Piece], num_workers: int = 1
) -> Iterator[tuple[Piece, float | RenderingError]]:
    """Each piece with its length in seconds, or with what kept it from being rendered, in order.

    What is there already is left as it is.
    """
    with ThreadPoolExecutor(num_workers) as pool:  # FluidSynth and SciPy work without Python's lock
        try:
            yield from zip(pieces, pool.map(lambda p: _rendered(job, p), pieces), strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def _rendered(job: CorpusJob, piece: Piece) -> float | RenderingError:
    path, performance = job.output / piece.path, piece.performance
    instrument = performance.instrument
    if path.exists():
        return soundfile.info(path).duration
    seconds = LEAD_S + performance.seconds + TAIL_S
    synthesizer = job.synthesizer
    try:
        audio = synthesizer.render(
            piece.notes(job.seed), instrument.program, seconds, release=instrument.release
        )
        audio = sound.finished(audio, synthesizer.sample_rate)
    except RenderingError as error:
        return error
    except ValueError as error:  # silence
        return RenderingError(str(error))
    sound.write(path, audio)
    return len(audio) / sound.SAMPLE_RATE


def planned(job: CorpusJob, scores: Sequence[Score]) -> list[Piece]:
    """The pieces that the corpus is to hold."""
    return [Piece(i, p) for i, p in enumerate(plan(scores, job.hours, job.seed))]


def finish(
    job: CorpusJob,
    scores: Sequence[Score],
    unusable: dict[str, str],
    results: Sequence[tuple[Piece, float | RenderingError]],
) -> dict[str, Any]:
    """Write the tables and, last, corpus.json, whose content is returned."""
    done = [(piece, seconds) for piece, seconds in results if isinstance(seconds, float)]
    tunes = dict(zip((s.id for s in scores), tune_names(scores), strict=True))
    with atomic_file(job.output / TAGS_FILE) as temporary:
        with open(temporary, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(CSV_HEADER)
            for piece, _ in done:
                tags = ";".join(piece.performance.tags())
                writer.writerow([piece.path, tunes[piece.performance.score.id], tags])
    with atomic_file(job.output / NOTES_FILE) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
            for piece, _ in done:
                notes = [
                    [round(n.start_s, 4), round(n.end_s, 4), n.pitch, n.velocity]
                    for n in piece.notes(job.seed)
                ]
                file.write(json.dumps({"path": piece.path, "notes": notes}) + "\n")
    hashes = {piece.path: file_sha256(job.output / piece.path) for piece, _ in done}
    summary = {
        **job.settings(),
        "pieces": len(done),
        "rendered_hours": round(sum(seconds for _, seconds in done) / 3600, 3),
        "tunes": len({tunes[piece.performance.score.id] for piece, _ in done}),
        "scores": len({piece.performance.score.id for piece, _ in done}),
        "audio_sha256": hashlib.sha256(json.dumps(hashes).encode()).hexdigest(),
        "tags": _tag_counts(done),
        "unusable_scores": unusable,
        "not_rendered": {
            p.path: str(error) for p, error in results if not isinstance(error, float)
        },
    }
    write_json_atomically(job.output / CORPUS_FILE, summary)
    return summary


def _tag_counts(done: Sequence[tuple[Piece, float]]) -> dict[str, dict[str, float]]:
    """Tag -> pieces, tunes' scores and hours."""
    pieces, hours = defaultdict(int), defaultdict(float)
    for piece, seconds in done:
        for tag in piece.performance.tags():
            pieces[tag] += 1
            hours[tag] += seconds / 3600
    return {tag: {"pieces": pieces[tag], "hours": round(hours[tag], 3)} for tag in sorted(pieces)}
