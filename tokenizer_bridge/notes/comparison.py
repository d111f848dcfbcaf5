"""Generated music beside real music, by its notes, and what it shares with the training music.

real        excerpts of held-out music
codec       the same through the codec: what the codec alone costs
generated   the model's pieces
shuffled    the held-out codes in random order: a model that knows how frequent they are
training    excerpts of the training music through the codec: what a copy looks like
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tokenizer_bridge.notes.agreement import Agreement, agree
from tokenizer_bridge.notes.measures import MEASURES, measure_piece, medians, ranges, within
from tokenizer_bridge.notes.pieces import Excerpt, Piece, decode, encode, in_threads, read_middle
from tokenizer_bridge.notes.scores import ScoreList, scores_of
from tokenizer_bridge.notes.sharing import note_sharing, token_sharing
from tokenizer_bridge.notes.transcription import Transcriber
from tokenizer_bridge.sources import Track
from tokenizer_bridge.token_dataset.errors import UserError
from tokenizer_bridge.token_dataset.records import TRAIN_SPLIT, TokenDataset
from tokenizer_bridge.wavtokenizer.network import WavTokenizer

# (title, total, unit) → a context whose value is called at each step.
Bar = Callable[[str, int, str], AbstractContextManager[Callable[[], object]]]


@dataclass(frozen=True)
class Plan:
    """The sets that are compared.

    generated, reference: audio of the model's and of held-out pieces. clip_s: seconds that are
    taken from the middle of each. codec: for what goes through it; no such rows without.
    training: what the model was trained on, to look for copies in; num_copies: pieces of it that
    stand for copies. generated_tokens: the tokens of the generated pieces. scores: known notes.
    """

    generated: Sequence[Track]
    reference: Sequence[Track]
    clip_s: float
    codec: WavTokenizer | None = None
    training: TokenDataset | None = None
    generated_tokens: TokenDataset | None = None
    scores: ScoreList = field(default_factory=list)
    num_copies: int = 16
    num_workers: int = 1
    seed: int = 0


def compare(plan: Plan, bar: Bar) -> dict[str, Any]:
    """The report: `sets`, `ranges` of the real pieces, `agreement` with scores, `copies`.

    Raises UserError.
    """
    sets = hear_sets(plan, bar)
    if not any(len(piece.notes) for piece in sets["real"]):
        raise UserError("no notes were heard in the reference: there is nothing to compare with")
    rows = {
        name: [measure_piece(piece.notes, piece.seconds) for piece in pieces]
        for name, pieces in sets.items()
        if name != "training"
    }
    real = ranges(rows["real"])
    return {
        "clip_s": plan.clip_s,
        "measures": MEASURES,
        "ranges": real,
        "sets": {
            name: {
                "pieces": len(of_set),
                "medians": medians(of_set),
                "within": within(of_set, real),
                "rows": [
                    {"id": piece.id, **row} for piece, row in zip(sets[name], of_set, strict=True)
                ],
            }
            for name, of_set in rows.items()
        },
        "agreement": agreement(plan, sets),
        "copies": copies(plan, sets, bar),
    }


def hear_sets(plan: Plan, bar: Bar) -> dict[str, list[Piece]]:
    """The pieces of every set that the plan has, transcribed."""
    transcriber, codec, rng = Transcriber(), plan.codec, np.random.default_rng(plan.seed)

    def hear(excerpt: Excerpt, codes_L: np.ndarray | None = None) -> Piece:
        notes = transcriber(excerpt.audio_T, excerpt.rate)
        return Piece(excerpt.id, notes, excerpt.seconds, excerpt.start_s, codes_L)

    def from_file(track: Track) -> Piece:
        return hear(read_middle(track, plan.clip_s))

    def from_music(track: Track) -> Piece:
        excerpt = read_middle(track, plan.clip_s)
        return hear(excerpt, encode(codec, excerpt) if codec else None)

    def from_codes(named: NamedCodes) -> Piece:
        return hear(decode(codec, named.id, named.codes_L, named.start_s), named.codes_L)

    def run(name: str, work: Callable[[Any], Piece], items: Sequence[Any]) -> list[Piece]:
        with bar(f"notes, {name}", len(items), "piece") as step:
            return in_threads(work, items, plan.num_workers, step)

    sets = {"real": run("real", from_music, plan.reference)}
    if codec:
        sets["codec"] = run("codec", from_codes, sets["real"])
    sets["generated"] = run("generated", from_file, plan.generated)
    if codec:
        shuffled = [
            replace(piece, codes_L=rng.permutation(piece.codes_L)) for piece in sets["real"]
        ]
        sets["shuffled"] = run("shuffled", from_codes, shuffled)
    if codec and plan.training:
        sets["training"] = run("training", from_codes, training_excerpts(plan))
    return sets


@dataclass(frozen=True, eq=False)
class NamedCodes:
    """Codes (L,) of an excerpt that begins at `start_s`."""

    id: str
    codes_L: np.ndarray
    start_s: float = 0.0


def training_excerpts(plan: Plan) -> list[NamedCodes]:
    """The middles of training pieces, evenly spread over those that are long enough."""
    codec, training = plan.codec.config, plan.training
    length = round(plan.clip_s * codec.token_rate)
    lengths = training.lengths(TRAIN_SPLIT)
    long_enough = np.flatnonzero(lengths >= min(length, lengths.max()))
    places = np.linspace(0, len(long_enough) - 1, min(plan.num_copies, len(long_enough)))
    excerpts = []
    for index in long_enough[places.round().astype(int)]:
        record = training.read(TRAIN_SPLIT, int(index))
        start, codes_L = middle(record.tokens, length)
        excerpts.append(NamedCodes(record.id, codes_L, start / codec.token_rate))
    return excerpts


def middle(codes_L: np.ndarray, length: int) -> tuple[int, np.ndarray]:
    """The place where the middle `length` codes begin, and they; all if there are no more."""
    start = max(0, (len(codes_L) - length) // 2)
    return start, codes_L[start : start + length]


def agreement(plan: Plan, sets: dict[str, list[Piece]]) -> dict[str, dict[str, float]]:
    """The agreement of real pieces' notes, plain and through the codec, with known scores."""
    scores = scores_of(plan.scores, {track.id: track.path for track in plan.reference})
    figures = {}
    for name in ("real", "codec"):
        known = [piece for piece in sets.get(name, []) if piece.id in scores]
        if not known:
            continue
        total = sum(
            (agree(scores[p.id].between(p.start_s, p.start_s + p.seconds), p.notes) for p in known),
            Agreement(0, 0, 0),
        )
        figures[name] = {
            "pieces": len(known),
            "precision": total.precision,
            "recall": total.recall,
            "f1": total.f1,
        }
    return figures


def copies(plan: Plan, sets: dict[str, list[Piece]], bar: Bar) -> dict[str, Any]:
    """The stretches shared with the training music: `tokens`, `changes` and, of scores, `notes`."""
    if plan.training is None:
        return {}
    found: dict[str, Any] = {}
    codes = {
        name: [(piece.id, piece.codes_L) for piece in sets[name]]
        for name in ("real", "training")
        if name in sets and sets[name][0].codes_L is not None
    }
    if plan.generated_tokens:
        data = plan.generated_tokens
        length = round(plan.clip_s * data.codec["sample_rate"] / data.codec["hop_length"])
        codes["generated"] = [
            (record.id, middle(record.tokens, length)[1])
            for split in data.splits
            for record in data.records(split)
        ]
        with bar("tokens shared with the training set", 1, "pass") as step:
            found |= token_sharing(codes, plan.training, TRAIN_SPLIT)
            step()
    trained_on = {
        record.source.get("file", record.id) for record in plan.training.records(TRAIN_SPLIT)
    }
    if known := [(path, notes) for path, notes in plan.scores if path in trained_on]:
        heard = {
            name: [(piece.id, piece.notes) for piece in of_set] for name, of_set in sets.items()
        }
        found["notes"] = note_sharing(heard, known)
    return found
