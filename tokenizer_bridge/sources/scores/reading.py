"""Scores that the Python package music21 carries, as plain notes.

Two collections whose files name no restriction (tokenizer_bridge/assets/LICENSES.md): Ryan's
Mammoth Collection (Boston, 1883; one voice, ABC) and the four-part chorales of J. S. Bach
(MusicXML).
"""

import importlib
import re
import zipfile
from pathlib import Path
from typing import Any

from tokenizer_bridge.sources.scores.score import Note, Score
from tokenizer_bridge.token_dataset.errors import UserError

_VOICES = ["soprano", "alto", "tenor", "bass"]
_MODES = {"major", "minor", "dorian", "mixolydian"}
_LENGTH = (16.0, 600.0)  # quarter notes; what is shorter is a fragment, what is longer misread
_MAX_REST = 8.0  # quarter notes
# What the book or the file's name calls it -> kind.
_KINDS = {
    "jig": "jig",
    "reel": "reel",
    "hornpipe": "hornpipe",
    "strathspey": "strathspey",
    "clog": "clog",
    "fling": "fling",
    "walk.?around": "walkaround",
}


def music21_package() -> Any:
    """The package. Raises UserError if it is not installed."""
    try:
        return importlib.import_module("music21")
    except ImportError as error:
        raise UserError(
            "the scores come with the Python package music21 (BSD), which is not installed: "
            "pip install music21==10.5.1"
        ) from error


def score_files(corpus: Path) -> list[Path]:
    """The files of both collections in a folder laid out like music21's corpus.

    The Humdrum files among the chorales come from another encoder with terms of their own, and are
    left out.
    """
    return sorted(corpus.glob("ryansMammoth/*.abc")) + sorted(corpus.glob("bach/*.mxl"))


def read_score(path: Path, name: str) -> Score:
    """The score of one of `score_files`. Raises ValueError, or what music21 raises."""
    return read_tune(path, name) if path.suffix == ".abc" else read_chorale(path, name)


def read_tune(path: Path, name: str) -> Score:
    """A tune of one voice from an ABC file. Raises ValueError, or what music21 raises."""
    text = path.read_bytes().decode("utf-8", "replace")
    # Fingerings stand in quotes, where ABC has chord symbols: they are no notes.
    text = re.sub(r'(?m)^([A-Za-z]:.*)$|"[^"\n]*"', lambda match: match[1] or "", text)
    fields = dict(re.findall(r"(?m)^([A-Z]):\s*(.*?)\s*$", text))
    kind = _kind(fields.get("R", ""), path.stem)
    music21 = music21_package()
    score = music21.converter.parseData(text, format="abc")
    if len(score.parts) != 1:
        raise ValueError(f"{len(score.parts)} voices instead of one")
    part = score.parts[0]
    key = next(iter(part.recurse().getElementsByClass("Key")), None)
    if key is None or key.mode not in _MODES:
        raise ValueError("no key that is known")
    metres = [m for m in part.recurse().getElementsByClass("TimeSignature") if m.numerator > 1]
    if len({m.ratioString for m in metres}) != 1:
        raise ValueError("more than one metre, or none")
    notes = _notes(_repeats_played(part), 0)
    return _checked(
        Score(
            id=name,
            title=re.search(r"(?m)^T:\s*(.*?)\s*$", text)[1],
            genre=genre_of(kind, metres[0].ratioString),
            metre=metres[0].ratioString,
            bar=float(metres[0].barDuration.quarterLength),
            pickup=_pickup(part, metres[0]),
            tonic=key.tonic.pitchClass,
            mode=key.mode,
            notes=tuple(notes),
        )
    )


def read_chorale(path: Path, name: str) -> Score:
    """A chorale of four voices from a MusicXML file. Raises ValueError, or what music21 raises."""
    music21 = music21_package()
    with zipfile.ZipFile(path) as archive:
        inside = next(n for n in archive.namelist() if not n.startswith("META-INF"))
        text = archive.read(inside).decode("utf-8", "replace")
    score = music21.converter.parseData(text, format="musicxml")
    parts = [p for p in score.parts if (p.partName or "").strip().lower() in _VOICES]
    if [p.partName.strip().lower() for p in parts] != _VOICES:
        raise ValueError("the four voices are not named Soprano, Alto, Tenor and Bass once each")
    metres = list(parts[0].recurse().getElementsByClass("TimeSignature"))
    if len({m.ratioString for m in metres}) != 1:
        raise ValueError("more than one metre, or none")
    notes = []
    for voice, part in enumerate(parts):
        notes += _notes(_repeats_played(part), voice)
    tonic, mode = estimate_key(notes)
    return _checked(
        Score(
            id=name,
            title=path.stem.upper().replace("BWV", "BWV "),
            genre="chorale",
            metre=metres[0].ratioString,
            bar=float(metres[0].barDuration.quarterLength),
            pickup=_pickup(parts[0], metres[0]),
            tonic=tonic,
            mode=mode,
            notes=tuple(notes),
        )
    )


def estimate_key(notes: list[Note]) -> tuple[int, str]:
    """(tonic, "major" or "minor"): Krumhansl's key profiles, and the bass that a piece ends on.

    Source: Krumhansl, Cognitive Foundations of Musical Pitch (1990). A piece nearly always ends on
    its tonic, so that its last and lowest note counts for as much as a correlation of 0.3.
    """
    profiles = {
        "major": [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
        "minor": [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
    }
    time = [0.0] * 12
    for note in notes:
        time[note.pitch % 12] += note.duration
    last = max(notes, key=lambda note: (note.onset + note.duration, -note.pitch)).pitch % 12

    def likeness(tonic: int, mode: str) -> float:
        rotated = [time[(tonic + i) % 12] for i in range(12)]
        return _correlation(rotated, profiles[mode]) + 0.3 * (tonic == last)

    return max(((t, m) for t in range(12) for m in profiles), key=lambda key: likeness(*key))


def _correlation(a: list[float], b: list[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    covariance = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    power = sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b)
    return covariance / power**0.5 if power else 0.0


def genre_of(kind: str, metre: str) -> str:
    """The genre of what the book calls by a kind: in it jigs in 9/8, slip jigs, are just jigs.

    Raises ValueError for a jig in a metre that no jig has.
    """
    if "jig" not in kind:
        return kind
    if metre not in ("6/8", "9/8", "12/8"):
        raise ValueError(f"a jig in {metre}")
    return "slipjig" if metre == "9/8" else "jig"


def _kind(rhythm: str, stem: str) -> str:
    for text in (rhythm, stem):
        for pattern, kind in _KINDS.items():
            if re.search(pattern, text, re.IGNORECASE):
                return kind
    raise ValueError("of no kind that is known")


def _pickup(part: Any, metre: Any) -> float:
    first = next(iter(part.getElementsByClass("Measure")), None)
    bar = float(metre.barDuration.quarterLength)
    length = float(first.duration.quarterLength) if first is not None else bar
    return length if length < bar else 0.0


def _repeats_played(part: Any) -> Any:
    """The part with its repeats played out; as it is written where music21 cannot make them out."""
    try:
        return part.expandRepeats()
    except music21_package().repeat.ExpanderException:
        return part


def _notes(part: Any, voice: int) -> list[Note]:
    """Notes of a part, ties joined; of a chord the highest, of grace notes none."""
    notes = []
    for element in part.stripTies().flatten().notes:
        duration = float(element.quarterLength)
        if duration > 0 and (element.isNote or "Harmony" not in element.classes):
            pitch = max(p.midi for p in element.pitches)
            notes.append(Note(round(float(element.offset), 4), round(duration, 4), pitch, voice))
    return sorted(notes, key=lambda note: note.onset)


def _checked(score: Score) -> Score:
    """The score, or ValueError if it looks misread."""
    for voice in sorted({note.voice for note in score.notes}):
        notes = [note for note in score.notes if note.voice == voice]
        ends = [note.onset + note.duration for note in notes]
        for end, note in zip(ends, notes[1:], strict=False):
            if note.onset < end - 1e-3:
                raise ValueError(f"two notes of one voice at once at quarter {note.onset:.2f}")
            if note.onset > end + _MAX_REST:
                raise ValueError(f"a rest of {note.onset - end:.0f} quarters")
    if not score.notes or not _LENGTH[0] <= score.length <= _LENGTH[1]:
        raise ValueError("too short or too long")
    return score
