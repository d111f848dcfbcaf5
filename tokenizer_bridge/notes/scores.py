"""Files of known notes, as tokenizer_bridge.render_scores writes them beside a corpus.

One JSON object a line: {"path": the audio file's, "notes": [[start, end, pitch, …], …]}, seconds.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from tokenizer_bridge.notes.note_list import Notes
from tokenizer_bridge.token_dataset.errors import UserError

HIGHEST_MIDI = 127
ScoreList = list[tuple[str, Notes]]  # (path, notes); a path may occur twice


def read_scores(files: Iterable[str | os.PathLike]) -> ScoreList:
    """The pieces of several files. Raises UserError that names file and line."""
    scores: ScoreList = []
    for file in files:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    piece = json.loads(line)
                    scores.append((_text(piece["path"]), _checked(Notes.of(piece["notes"]))))
                except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
                    raise UserError(
                        f"{file}, line {number}: no piece with a path and notes of start, end and "
                        f"pitch ({type(error).__name__}: {error})"
                    ) from error
    return scores


def _text(path: object) -> str:
    if not isinstance(path, str):
        raise TypeError(f"the path is {path!r}")
    return path


def _checked(notes: Notes) -> Notes:
    is_finite = np.isfinite(notes.start_N) & np.isfinite(notes.end_N)
    if not (is_finite & (notes.start_N <= notes.end_N)).all():
        raise ValueError("a note does not end after its start")
    if not ((notes.pitch_N >= 0) & (notes.pitch_N <= HIGHEST_MIDI)).all():
        raise ValueError("a pitch is none of 0 to 127")
    return notes


def scores_of(scores: ScoreList, paths: Mapping[str, Path]) -> dict[str, Notes]:
    """The notes of those files whose name, without folders, exactly one score has.

    paths: file of every id. A link has the name of what it leads to.
    """
    by_name: dict[str, list[Notes]] = {}
    for path, notes in scores:
        by_name.setdefault(PurePosixPath(path).name, []).append(notes)
    found = {id: by_name.get(path.resolve().name, []) for id, path in paths.items()}
    return {id: notes[0] for id, notes in found.items() if len(notes) == 1}
